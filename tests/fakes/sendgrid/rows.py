"""Checks of a row before anything is queued: what is wrong with one refuses the whole request (facts 1.2, 1.4)."""

import re
from collections.abc import Iterator, Mapping

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Json
from tests.fakes.sendgrid.behaviour import Choices
from tests.fakes.sendgrid.contact import IDENTIFIERS, RESERVED
from tests.fakes.sendgrid.fields import Fields

Row = Mapping[str, Json]
_EMAIL = re.compile(
    r"(?=.{3,254}$)[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]",
    re.IGNORECASE | re.ASCII,
)
_PHONE = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_LONGEST_EMAIL = 254
_MOST_ALTERNATES = 5


def is_email(value: str) -> bool:
    """Whether it is an address; stricter ones exist, and SendGrid does not say what its own is."""
    return len(value) <= _LONGEST_EMAIL and _EMAIL.fullmatch(value) is not None


def is_phone(value: str) -> bool:
    """Whether it is in E.164 (facts 1.1)."""
    return _PHONE.fullmatch(value) is not None


class RowCheck:
    """What is wrong with a row, in a field and a message."""

    def __init__(self, clock: Clock, choices: Choices, fields: Fields) -> None:
        self._clock = clock
        self._choices = choices
        self._fields = fields

    def bad_emails(self, row: Row) -> Iterator[str]:
        """Malformed addresses, or ones that are refused as such."""
        for value in (row.get("email"), *_listed(row.get("alternate_emails"))):
            if (
                isinstance(value, str)
                and value
                and (value.lower() in self._choices.refused_emails or not is_email(value))
            ):
                yield value

    def faults(self, row: Row) -> Iterator[tuple[str, str]]:
        """What else is wrong: no identifier, wrong types, too long, unknown custom fields."""
        if not any(row.get(kind) for kind in IDENTIFIERS):
            yield "identifier", "at least one identifier is required: " + ", ".join(IDENTIFIERS)
        for name, value in row.items():
            if value is None:
                continue
            if name == "custom_fields":
                yield from self._custom_faults(value)
            elif name == "alternate_emails":
                if not isinstance(value, list) or len(value) > _MOST_ALTERNATES or not all(map(_is_text, value)):
                    yield name, f"alternate_emails must be an array of at most {_MOST_ALTERNATES} strings"
            elif name in RESERVED or name in IDENTIFIERS:
                yield from _text_faults(name, value)

    def _custom_faults(self, values: Json) -> Iterator[tuple[str, str]]:
        if not isinstance(values, dict):
            yield "custom_fields", "custom_fields must be an object"
            return
        for key, value in values.items():
            field = self._fields.custom.get(key)
            if field is None and self._choices.field_names_accepted:
                field = self._fields.named(key)
            if field is None or field.usable_at > self._clock.now():
                yield "custom_fields", f"custom field '{key}' does not exist"
            elif value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float if field.field_type == "Number" else str)
            ):
                yield "custom_fields", f"custom field '{key}' must be a {field.field_type.lower()}"


def _is_text(value: Json) -> bool:
    return isinstance(value, str)


def _listed(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _text_faults(name: str, value: Json) -> Iterator[tuple[str, str]]:
    most = RESERVED.get(name, _LONGEST_EMAIL)
    if not isinstance(value, str):
        yield name, f"{name} must be a string"
    elif most and len(value) > most:
        yield name, f"{name} must be at most {most} characters"
    elif name == "phone_number_id" and value and not is_phone(value):
        yield "identifier", f"phone_number_id '{value}' is not valid"
