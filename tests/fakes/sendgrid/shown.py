"""How reads show a contact (facts 2.1)."""

from collections.abc import Callable

from tests.fakes.clock import iso
from tests.fakes.sendgrid.api import Json, Request
from tests.fakes.sendgrid.contact import IDENTIFIERS, RESERVED, Contact
from tests.fakes.sendgrid.fields import Fields


class Shown:
    """Makes their JSON.

    Args:
        fields: name the custom ones.
        segment_ids: of a contact.
    """

    def __init__(self, fields: Fields, segment_ids: Callable[[Contact], list[str]]) -> None:
        self._fields = fields
        self._segment_ids = segment_ids

    def row(self, contact: Contact) -> dict[str, Json]:
        """What queries see of it."""
        return {
            **contact.fields,
            "contact_id": contact.id,
            "list_ids": contact.list_ids,
            "segment_ids": self._segment_ids(contact),
            "custom_fields": self._fields.by_name(contact),
            "created_at": iso(contact.created_at),
            "updated_at": iso(contact.updated_at),
        }

    def contact(self, contact: Contact, request: Request) -> dict[str, Json]:
        """With all its keys, and custom fields by name."""
        body: dict[str, Json] = {"id": contact.id}
        for name in (*IDENTIFIERS, *RESERVED):
            body[name] = contact.fields.get(name, "")
        return body | {
            "alternate_emails": contact.fields.get("alternate_emails", []),
            "list_ids": sorted(contact.list_ids),
            "segment_ids": self._segment_ids(contact),
            "custom_fields": self._fields.by_name(contact),
            "created_at": iso(contact.created_at),
            "updated_at": iso(contact.updated_at),
            "_metadata": {"self": f"{request.call.origin}/v3/marketing/contacts/{contact.id}"},
        }
