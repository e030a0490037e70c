"""People as SendGrid's contacts: who they are, which fields they get, and how these are fitted to SendGrid's limits.

Source of the limits: SendGrid's OpenAPI description of `PUT /v3/marketing/contacts` and of field definitions.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from typing import Any, Literal

import orjson
from email_validator import EmailNotValidError, validate_email

from schemas.columns import UncertainError, milliseconds

FieldType = Literal["Text", "Number", "Date"]

MOST_ROWS = 30_000
"""Contacts in one upload."""
MOST_BYTES = 6_000_000
"""Of one upload's body."""
IDENTIFIERS = ("phone_number_id", "external_id", "anonymous_id")
"""What identifies a contact besides its email: a contact that has one is refused without it."""

_LIST_NAME_LENGTH = 100
_TEXT_LENGTH = 1000
_RESERVED_LENGTHS = {
    "first_name": 50,
    "last_name": 50,
    "address_line_1": 100,
    "address_line_2": 100,
    "city": 60,
    "state_province_region": 50,
    "country": 50,
    "postal_code": 50,
    "phone_number": 50,
    "whatsapp": 50,
    "line": 50,
    "facebook": 50,
    "unique_name": 50,
}
"""SendGrid's own fields that can be written, with the characters they take."""
_AMERICAN_DATE = re.compile(r"\d{1,2}/\d{1,2}/\d{4}")
_ADDRESS = re.compile(r"[^\s\"'<>,;:()\[\]]+@[^\s\"'<>,;:()\[\]]+")
_NAMED = re.compile(r"email '(.+)' is not valid")
_REASON_LENGTH = 300
_EXACT = 2**53
"""Below it a float that has no fraction is exactly that integer."""


class InvalidAddressError(ValueError):
    """SendGrid would refuse this address; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a person goes where.

    Attributes:
        email_trait: the trait that holds the address; a user id that is one serves where it is missing.
        first_name_trait: the trait that is the first name.
        last_name_trait: the trait that is the last name.
        user_id_field: the custom field that gets the user id; none where empty.
        custom_fields: trait to a field's name or id.
        match_custom_fields: a trait that is named like a custom field, or like a field of SendGrid's own, goes there
            by itself.
    """

    email_trait: str = "email"
    first_name_trait: str = "first_name"
    last_name_trait: str = "last_name"
    user_id_field: str = ""
    custom_fields: Mapping[str, str] = field(default_factory=dict)
    match_custom_fields: bool = True


@dataclass(frozen=True, slots=True)
class Field:
    """A custom field of an account."""

    id: str
    name: str
    type: FieldType


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who belongs on a list.

    Attributes:
        email: as `address` gives it.
        user_id: the customer's id of them; may be empty.
        traits: what is known about them.
        identifiers: what else their contact is identified by, by name, where it is known.
    """

    email: str
    user_id: str
    traits: Mapping[str, Any]
    identifiers: tuple[tuple[str, str], ...] = ()


def address(text: str) -> str:
    """An address as SendGrid stores it: lower case, its domain in ASCII.

    Raises:
        InvalidAddressError: it is none.
    """
    return valid_address(text).lower()


@lru_cache(maxsize=1000)  # a sender's is asked about with each of its mails
def valid_address(text: str) -> str:
    """An address as it was written, its domain in ASCII.

    Raises:
        InvalidAddressError: it is none.
    """
    try:
        # Whether the domain exists is not asked: SendGrid does not, and it would be a query for each person.
        found = validate_email(text.strip(), check_deliverability=False, allow_smtputf8=False).ascii_email
    except EmailNotValidError as error:
        raise InvalidAddressError(str(error)) from None
    return found or ""


def given_address(user_id: str, traits: Mapping[str, Any], rules: Rules) -> str:
    """What a person's address is said to be, whether it is one or not; empty where nothing is said."""
    trait = traits.get(rules.email_trait)
    if isinstance(trait, str) and trait.strip():
        return trait.strip()
    return user_id if "@" in user_id else ""


class Mapper:
    """Makes people SendGrid's contacts, by the rules and the custom fields that there are.

    Args:
        rules: of the customer.
        fields: the account's custom fields.
    """

    def __init__(self, rules: Rules, fields: Iterable[Field]) -> None:
        self._rules = rules
        known = list(fields)
        self._by_name = {each.name.lower(): each for each in known} | {each.id.lower(): each for each in known}
        self._user_id_field = self._by_name.get(rules.user_id_field.lower())
        self._ways: dict[str, Field | str | None] = {}

    def missing(self) -> list[str]:
        """The custom fields that the rules name and that are not there."""
        named = [*self._rules.custom_fields.values(), *([self._rules.user_id_field] * bool(self._rules.user_id_field))]
        return sorted({name for name in named if name.lower() not in self._by_name and name not in _RESERVED_LENGTHS})

    def contact(self, person: Person) -> bytes:
        """One contact of an upload's body, as JSON."""
        contact: dict[str, object] = {"email": person.email, **dict(person.identifiers)}
        custom: dict[str, object] = {}
        for trait, value in person.traits.items():
            way = self._ways[trait] if trait in self._ways else self._remember(trait)
            if isinstance(way, Field):
                if (fitted := _FITTERS[way.type](value)) is not None:
                    custom[way.id] = fitted
            elif way and (text := _text(value)):
                contact[way] = text[: _RESERVED_LENGTHS[way]]
        if self._user_id_field and person.user_id:
            custom[self._user_id_field.id] = _FITTERS[self._user_id_field.type](person.user_id)
        if custom:
            contact["custom_fields"] = custom
        return bytes(memoryview(orjson.dumps(contact)))  # copied: what orjson gives occupies 4 kB as long as it is kept

    def _remember(self, trait: str) -> Field | str | None:
        way = self._ways[trait] = self._way(trait)
        return way

    def _way(self, trait: str) -> Field | str | None:
        rules = self._rules
        if trait in rules.custom_fields:
            named = rules.custom_fields[trait]
            return self._by_name.get(named.lower()) or (named if named in _RESERVED_LENGTHS else None)
        names = {rules.first_name_trait: "first_name", rules.last_name_trait: "last_name"}
        if trait in names or trait == rules.email_trait:
            return names.get(trait)
        if not rules.match_custom_fields:
            return None
        own = trait if trait in _RESERVED_LENGTHS and trait not in names.values() else None
        return self._by_name.get(trait.lower()) or own


def field_type(values: Iterable[object]) -> FieldType:
    """What a new custom field for these values should hold."""
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None]
    return "Number" if numbers and all(numbers) else "Text"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return orjson.dumps(value).decode() if value is not None else ""


def _fitted_text(value: object) -> str | None:
    return _text(value)[:_TEXT_LENGTH] or None


def _fitted_number(value: object) -> int | float | None:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not isfinite(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


def _fitted_date(value: object) -> str | None:
    if isinstance(value, str) and _AMERICAN_DATE.fullmatch(value.strip()):
        return value.strip()
    try:
        return f"{datetime.fromtimestamp(milliseconds(value) / 1000, UTC):%m/%d/%Y}"
    except (UncertainError, ValueError, OverflowError, OSError):
        return None


_FITTERS = {"Text": _fitted_text, "Number": _fitted_number, "Date": _fitted_date}
"""By a field's type: a trait's value as SendGrid takes it; None where it cannot be made one."""


def fitting(list_id: str, contacts: Sequence[bytes]) -> int:
    """How many of some contacts, from the first on, SendGrid takes in one upload.

    Args:
        list_id: that they are put on; empty: on none.
        contacts: as JSON; at least one.
    """
    size, count = len(_head(list_id)) + 2, 0
    for contact in contacts[:MOST_ROWS]:
        size += len(contact) + 1
        if size > MOST_BYTES and count:
            break
        count += 1
    return count


def upload(list_id: str, contacts: Sequence[bytes]) -> tuple[bytes, int]:
    """The body of one upload, and how many of the contacts it holds: those that are fitting."""
    count = fitting(list_id, contacts)
    return _head(list_id) + b",".join(contacts[:count]) + b"]}", count


def _head(list_id: str) -> bytes:
    return b'{"list_ids":[' + (orjson.dumps(list_id) if list_id else b"") + b'],"contacts":['


def list_name(wanted: str, cohort: str, taken: Collection[str]) -> str:
    """A name for a cohort's list: as wanted, or cut, with a short hash of the cohort, where it is too long or taken."""
    if len(wanted) <= _LIST_NAME_LENGTH and wanted not in taken:
        return wanted
    suffix = f" {blake2b(cohort.encode(), digest_size=4).hexdigest()}"
    return wanted[: _LIST_NAME_LENGTH - len(suffix)].rstrip() + suffix


def refused_addresses(answer: str, sent: Collection[str]) -> dict[str, str]:
    """The addresses that a refused upload's answer names, with what it says about each.

    SendGrid names one as `email '<address>' is not valid`; its index was seen to be wrong and is not used.

    Args:
        answer: the body.
        sent: the addresses that were in the upload.
    """
    return {
        email: message[:_REASON_LENGTH]
        for message in _messages(answer)
        for email in (*_NAMED.findall(message.lower()), *_ADDRESS.findall(message.lower()))
        if email in sent
    }


def errored_addresses(report: str, sent: Collection[str]) -> dict[str, str]:
    """The addresses in an import job's file of errors, with what it says about each.

    SendGrid does not describe the file, so each of its rows belongs to the addresses that are in it.

    Args:
        report: the file.
        sent: the addresses that were in the upload.
    """
    return {
        email: row.strip()[:_REASON_LENGTH]
        for row in _rows(report)
        for email in _ADDRESS.findall(row.lower())
        if email in sent
    }


def _messages(answer: str) -> Iterator[str]:
    try:
        errors = orjson.loads(answer)["errors"]
        yield from (str(error["message"]) for error in errors)
    except (ValueError, TypeError, LookupError):
        yield from answer.splitlines()


def _rows(report: str) -> Iterator[str]:
    try:
        document = orjson.loads(report)
    except ValueError:
        yield from report.splitlines()
        return
    if isinstance(document, dict):
        document = next((member for member in document.values() if isinstance(member, list)), [document])
    for row in document if isinstance(document, list) else [document]:
        yield row if isinstance(row, str) else orjson.dumps(row).decode()
