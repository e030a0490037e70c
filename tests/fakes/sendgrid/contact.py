"""A contact, and a directory of contacts by identifier and by list."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from tests.fakes.sendgrid.api import Json

IDENTIFIERS = ("email", "phone_number_id", "external_id", "anonymous_id")
"""A contact has at least one of them (facts 1.1)."""
RESERVED = {
    "first_name": 50,
    "last_name": 50,
    "address_line_1": 100,
    "address_line_2": 100,
    "city": 60,
    "state_province_region": 50,
    "country": 50,
    "postal_code": None,
    "phone_number": None,
    "whatsapp": None,
    "line": None,
    "facebook": None,
    "unique_name": None,
}
"""The texts of a contact beside its identifiers, and how long they may be (facts 1.2)."""


@dataclass(frozen=True, slots=True)
class Contact:
    """One contact at one time: a change makes a new one of the same id.

    Attributes:
        id: SendGrid's.
        fields: identifiers, alternate_emails and the texts of `RESERVED`; only what it has.
        custom: values of custom fields, by field id.
        list_ids: the lists it is on.
        created_at: seconds since 1970,
        updated_at: as well.
    """

    id: str
    fields: Mapping[str, Json]
    custom: Mapping[str, str | float]
    list_ids: frozenset[str]
    created_at: float
    updated_at: float

    @property
    def email(self) -> str:
        """Its address; empty where it has none."""
        return str(self.fields.get("email", ""))


class Directory:
    """Contacts, found by id, by identifier and by list.

    Attributes:
        by_id: all of them, the oldest first.
    """

    def __init__(self) -> None:
        self.by_id: dict[str, Contact] = {}
        self._by_identifier: dict[str, dict[str, str]] = {kind: {} for kind in IDENTIFIERS}
        self._by_alternate: dict[str, str] = {}
        self._members: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def put(self, contact: Contact) -> None:
        """Add it, or replace the one of the same id."""
        old = self.by_id.get(contact.id)
        if old is None or old.fields is not contact.fields:
            self._unname(old)
            for kind in contact.fields.keys() & self._by_identifier.keys():
                self._by_identifier[kind][contact.fields[kind]] = contact.id
            for alternate in contact.fields.get("alternate_emails", ()):
                self._by_alternate[alternate] = contact.id
        before = old.list_ids if old else frozenset()
        for list_id in before - contact.list_ids:
            del self._members[list_id][contact.id]
        for list_id in contact.list_ids - before:
            self._members[list_id][contact.id] = None
        self.by_id[contact.id] = contact

    def remove(self, contact_id: str) -> None:
        """Forget it."""
        old = self.by_id.pop(contact_id)
        self._unname(old)
        for list_id in old.list_ids:
            del self._members[list_id][contact_id]

    def find(self, kind: str, value: str) -> Contact | None:
        """By one identifier."""
        return self.by_id.get(self._by_identifier[kind].get(value, ""))

    def with_alternate(self, email: str) -> Contact | None:
        """By an alternate address."""
        return self.by_id.get(self._by_alternate.get(email, ""))

    def members(self, list_id: str) -> Collection[str]:
        """The ids of who is on a list."""
        return self._members[list_id].keys()

    def on_lists(self, list_ids: Iterable[str]) -> list[Contact]:
        """Everybody who is on one of the lists, once."""
        ids = dict.fromkeys(each for list_id in list_ids for each in self._members[list_id])
        return [self.by_id[each] for each in ids]

    def _unname(self, contact: Contact | None) -> None:
        if contact is None:
            return
        for kind, names in self._by_identifier.items():
            if names.get(value := contact.fields.get(kind, "")) == contact.id:
                del names[value]
        for alternate in contact.fields.get("alternate_emails", ()):
            self._by_alternate.pop(alternate, None)
