"""The fields of a mail, and SendGrid's limits on each: checked before anything is sent.

Source: SendGrid's OpenAPI description of `POST /v3/mail/send`, its pages on errors and personalizations; the texts of
pickers are those of Segment's hosted destination.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from schemas.columns import UncertainError, milliseconds
from schemas.contacts import InvalidAddressError, valid_address

OWN_ARGUMENTS = ("gridstream_rule", "gridstream_message_id")
"""Custom arguments that every mail has: which rule made it, and its id."""
MOST_RECIPIENTS = 1000
MOST_BYTES = 30_000_000
"""Of a request."""

_RESERVED_HEADERS = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)
_MOST_CATEGORIES = 10
_LONGEST_CATEGORY = 255
_ARGUMENT_BYTES = 10_000
_POOL_LENGTHS = range(2, 65)
_NOT_IN_NAMES = frozenset(";,\r\n")
_TEMPLATE = re.compile(r"(d-[0-9A-Za-z-]+)|.*\[(d-[0-9A-Za-z-]+)\]\s*", re.DOTALL)
_GROUP = re.compile(r".*\[(\d+)\]\s*|(\d+).*", re.DOTALL)
_SHOWN = 200

Recipient = dict[str, str]


class UnfitError(ValueError):
    """SendGrid would not take this; the message says what was found and what is expected.

    Args:
        found: the part that is at fault.
        expected: what should be there.
    """

    def __init__(self, found: object, expected: str) -> None:
        super().__init__(f"found {_shown(found)}, expected {expected}")


def template_id(value: object) -> str:
    """From the id, or from the text of a picker."""
    match = _TEMPLATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise UnfitError(value, "the id of a dynamic template, d-…, or a text that ends with it: name - version [d-…]")
    return match[1] or match[2]


def recipients(value: object) -> list[Recipient]:
    """From an address, a table with `email` and `name`, or a list of these. Blank ones are dropped."""
    members = value if isinstance(value, list | tuple) else [value]
    return [_recipient(member) for member in members if not _is_blank_row(member)]


def one_recipient(value: object) -> Recipient:
    """From an address, or a table with `email` and `name`."""
    if is_blank(value):
        raise UnfitError(value, "an address")
    return _recipient(value, name)


def recipient_name(value: object) -> str:
    """Of somebody whom a mail goes to: SendGrid takes neither semicolon nor comma there."""
    text = name(value)
    if _NOT_IN_NAMES.intersection(text):
        raise UnfitError(value, "a name without semicolon, comma and line break")
    return text


def name(value: object) -> str:
    """Of a sender."""
    if isinstance(value, list | dict | bool):
        raise UnfitError(value, "a name")
    return str(value).strip()


def headers(value: object) -> dict[str, str]:
    """From a table; values become text."""
    found = {}
    for key, content in _table(value).items():
        if key.lower() in _RESERVED_HEADERS:
            raise UnfitError(key, "a header that SendGrid does not reserve for itself")
        if not re.fullmatch(r"[!-9;-~]+", key):
            raise UnfitError(key, "the name of a header: ASCII, without spaces and colons")
        text = as_text(content)
        if "\r" in text or "\n" in text:
            raise UnfitError(text, f"a value of {key} without line breaks")
        found[key] = text
    return found


def custom_args(value: object) -> dict[str, str]:
    """From a table; values become text."""
    found = {key: as_text(content) for key, content in _table(value).items()}
    for key in found:
        if key in OWN_ARGUMENTS:
            raise UnfitError(key, "an argument that gridstream does not set itself")
    return within_argument_bytes(found)


def within_argument_bytes(arguments: dict[str, str]) -> dict[str, str]:
    """Custom arguments, all of one mail, as they are."""
    size = len(orjson.dumps(arguments))
    if size >= _ARGUMENT_BYTES:
        raise UnfitError(f"{size:,} bytes", f"custom arguments of less than {_ARGUMENT_BYTES:,} bytes")
    return arguments


def categories(value: object) -> list[str]:
    """From a text or a list; blank ones are dropped."""
    members = value if isinstance(value, list | tuple) else [value]
    found = [as_text(member) for member in members if not is_blank(member)]
    for each in found:
        if not each.isascii() or len(each) > _LONGEST_CATEGORY:
            raise UnfitError(each, f"a category of at most {_LONGEST_CATEGORY} ASCII characters")
        if found.count(each) > 1:
            raise UnfitError(each, "each category once")
    if len(found) > _MOST_CATEGORIES:
        raise UnfitError(f"{len(found)} categories", f"at most {_MOST_CATEGORIES}")
    return found


def group_id(value: object) -> int:
    """From a number, or from the text of a picker: `name [id]`."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _GROUP.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise UnfitError(value, "the number of an unsubscribe group, or a text that ends with it: name [123]")
    return int(match[1] or match[2])


def ip_pool_name(value: object) -> str:
    """The name of an IP pool."""
    if not isinstance(value, str) or len(value.strip()) not in _POOL_LENGTHS:
        raise UnfitError(value, f"a name of {_POOL_LENGTHS[0]} to {_POOL_LENGTHS[-1]} characters")
    return value.strip()


def send_at(value: object) -> int:
    """In milliseconds since 1970, from ISO 8601 (UTC unless it says otherwise) or seconds since 1970."""
    try:
        return milliseconds(value)
    except UncertainError:
        raise UnfitError(value, "a time: ISO 8601, or seconds since 1970") from None


def sandbox(value: object) -> bool:
    """Whether nothing is delivered."""
    if not isinstance(value, bool):
        raise UnfitError(value, "true or false")
    return value


def template_data(value: object) -> dict[str, Any]:
    """Any JSON object."""
    return dict(_table(value))


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "template_id": template_id,
    "from": one_recipient,
    "from_name": name,
    "to": recipients,
    "to_name": recipient_name,
    "cc": recipients,
    "bcc": recipients,
    "reply_to": one_recipient,
    "headers": headers,
    "custom_args": custom_args,
    "categories": categories,
    "group_id": group_id,
    "ip_pool_name": ip_pool_name,
    "send_at": send_at,
    "sandbox": sandbox,
    "dynamic_template_data": template_data,
}
"""By a field's name: what makes of a value what SendGrid takes, or raises UnfitError."""


def no_repeats(*groups: Iterable[Recipient]) -> None:
    """Check that SendGrid takes these together as one mail's recipients.

    Raises:
        UnfitError: an address is there twice, or there are too many.
    """
    seen: set[str] = set()
    for recipient in (each for group in groups for each in group):
        email = recipient["email"].lower()
        if email in seen:
            raise UnfitError(recipient["email"], "each address once in to, cc and bcc together")
        seen.add(email)
    if len(seen) > MOST_RECIPIENTS:
        raise UnfitError(f"{len(seen):,} recipients", f"at most {MOST_RECIPIENTS:,} in to, cc and bcc together")


def as_text(value: object) -> str:
    """A value where SendGrid takes only text: text as it is, anything else as JSON, nothing as nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _recipient(value: object, name_of: Callable[[object], str] = recipient_name) -> Recipient:
    email = value.get("email") if isinstance(value, dict) else value
    if isinstance(value, dict) and (unknown := value.keys() - {"email", "name"}):
        raise UnfitError(min(unknown), "email and name")
    try:
        found = {"email": valid_address(email if isinstance(email, str) else "")}
    except InvalidAddressError as error:
        raise UnfitError(email, f"an address: {error}") from None
    if isinstance(value, dict) and not is_blank(value.get("name")):
        found["name"] = name_of(value["name"])
    return found


def is_blank(value: object) -> bool:
    """Whether it says nothing: no value, an empty text, an empty table."""
    return value is None or value == {} or (isinstance(value, str) and not value.strip())


def _is_blank_row(value: object) -> bool:
    return all(map(is_blank, value.values())) if isinstance(value, dict) else is_blank(value)


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UnfitError(value, "a table")
    return value


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
