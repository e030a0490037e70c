"""Custom and reserved fields of contacts (facts 2.6)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Json, Request, Route, invalid, not_found, text
from tests.fakes.sendgrid.behaviour import Limits, Timing
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import Contact
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.server import Answer

FieldType = Literal["Text", "Number", "Date"]
WRITABLE = (
    "first_name",
    "last_name",
    "email",
    "alternate_emails",
    "address_line_1",
    "address_line_2",
    "city",
    "state_province_region",
    "postal_code",
    "country",
    "phone_number",
    "whatsapp",
    "line",
    "facebook",
    "unique_name",
)
READ_ONLY = {
    "email_domains": "Text",
    "last_clicked": "Date",
    "last_opened": "Date",
    "last_emailed": "Date",
    "singlesend_id": "Text",
    "automation_id": "Text",
    "created_at": "Date",
    "updated_at": "Date",
    "contact_id": "Text",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(slots=True)
class CustomField:
    """One custom field.

    Attributes:
        id: its suffix shows the type: `e1_T`.
        name: unique whatever the letter case.
        field_type: of its values.
        usable_at: from when on contacts can be written with it (facts 1.4).
    """

    id: str
    name: str
    field_type: FieldType
    usable_at: float = 0.0


class Fields:
    """All fields.

    Attributes:
        custom: by id.
    """

    def __init__(self, clock: Clock, limits: Limits, timing: Timing, book: ContactBook) -> None:
        self.custom: dict[str, CustomField] = {}
        self._clock = clock
        self._limits = limits
        self._timing = timing
        self._book = book
        self._made = 0

    def add(self, name: str, field_type: FieldType = "Text", usable_in: float = 0.0) -> CustomField:
        """A new custom field, usable after so many seconds."""
        self._check_name(name)
        self._made += 1
        field_id = f"e{self._made}_{field_type[0]}"
        field = CustomField(field_id, name, field_type, self._clock.now() + usable_in)
        self.custom[field_id] = field
        return field

    def named(self, name: str) -> CustomField | None:
        """By name, in any letter case."""
        return next((field for field in self.custom.values() if field.name.lower() == name.lower()), None)

    def by_name(self, contact: Contact) -> dict[str, str | float]:
        """The custom values of a contact as reads show them: keyed by name (facts 1.2)."""
        return {self.custom[key].name: value for key, value in contact.custom.items() if key in self.custom}

    def routes(self) -> Iterator[Route]:
        """The list is not paged."""
        path = "/v3/marketing/field_definitions"
        yield Route("GET", path, self._list, MARKETING)
        yield Route("POST", path, self._create, MARKETING, writes=True)
        yield Route("PATCH", path + "/{id}", self._rename, MARKETING, writes=True)
        yield Route("DELETE", path + "/{id}", self._delete, MARKETING, writes=True)

    def _list(self, request: Request) -> Answer:
        reserved: list[Json] = [
            {"id": f"_rf{index}_T", "name": name, "field_type": "Text"} for index, name in enumerate(WRITABLE)
        ]
        reserved += [
            {"id": f"_rf{index}_{kind[0]}", "name": name, "field_type": kind, "read_only": True}
            for index, (name, kind) in enumerate(READ_ONLY.items(), len(WRITABLE))
        ]
        url = request.call.origin + request.call.path
        body: dict[str, Json] = {"reserved_fields": reserved, "_metadata": {"self": url}}
        if self.custom:  # else the key is missing
            body["custom_fields"] = [
                _shown(field) | {"_metadata": {"self": f"{url}/{field.id}"}} for field in self.custom.values()
            ]
        return Answer(body=body)

    def _create(self, request: Request) -> Answer:
        body = request.json()
        name = text(body, "name", 100)
        if body.get("field_type") not in get_args(FieldType):
            raise invalid("field_type", "field_type must be one of Text, Number, Date")
        if len(self.custom) >= self._limits.fields:
            raise invalid(None, f"an account can have at most {self._limits.fields} custom fields")
        return Answer(200, _shown(self.add(name, body["field_type"], self._timing.field)))

    def _rename(self, request: Request) -> Answer:
        field = self._one(request)
        name = text(request.json(), "name", 100)
        self._check_name(name, field)
        field.name = name
        return Answer(200, _shown(field))

    def _delete(self, request: Request) -> Answer:
        field = self._one(request)
        del self.custom[field.id]
        self._clock.after(self._timing.field_removal, lambda: self._forget(field.id))
        return Answer(204)

    def _forget(self, field_id: str) -> None:
        """The values of a deleted field go too, later."""
        having = [contact for contact in self._book.actual.by_id.values() if field_id in contact.custom]
        self._book.write([_without(contact, field_id) for contact in having])

    def _one(self, request: Request) -> CustomField:
        if request.id not in self.custom:
            raise not_found("custom field not found")
        return self.custom[request.id]

    def _check_name(self, name: str, own: CustomField | None = None) -> None:
        if not _NAME.fullmatch(name):
            raise invalid("name", "name must begin with a letter or underscore, then letters, digits, underscores")
        if name.lower() in {*WRITABLE, *READ_ONLY}:
            raise invalid("name", f"'{name}' is a reserved field")
        if self.named(name) not in (None, own):
            raise invalid("name", f"a custom field named '{name}' already exists")


def _without(contact: Contact, field_id: str) -> Contact:
    return replace(contact, custom={key: value for key, value in contact.custom.items() if key != field_id})


def _shown(field: CustomField) -> dict[str, Json]:
    return {"id": field.id, "name": field.name, "field_type": field.field_type}
