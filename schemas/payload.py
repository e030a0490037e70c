"""From the bytes of a webhook's body to its elements, whatever the bytes are.

What SendGrid really sends goes through orjson. What only a strict parser refuses (a lone surrogate, a byte-order mark,
invalid UTF-8, NaN, 1e400) or rounds (integers beyond 64 bits) is read again leniently, the offending part replaced or
kept as text.
"""

import json
import re
from dataclasses import dataclass

import orjson

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SPACE = " \t\n\r"
_JSON_SPACE = re.compile(f"[{_SPACE}]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER_DIGITS = 19
"""More digits than this never fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """An element that is no event."""

    reason: str
    payload: bytes


Element = dict[str, object] | Malformed


def elements(body: bytes) -> list[Element]:
    """The elements of a body, in order: an array's, or the body itself as the only one.

    Nothing at all for `[]` and for a body of nothing but white space.
    """
    try:
        document = orjson.loads(body)
        members = document if isinstance(document, list) else [document]
        return [member if type(member) is dict else _not_an_object(orjson.dumps(member)) for member in members]
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return lenient_elements(body)


def lenient_elements(body: bytes) -> list[Element]:
    """The same for what the fast parser refuses, rounds, or could not write again."""
    text = body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff").strip(_SPACE)
    if not text:
        return []
    try:
        return _array_elements(text) if text.startswith("[") else [_only_element(text)]
    except ValueError as error:
        return [Malformed(f"not JSON: {error}", body)]


def _not_an_object(payload: bytes) -> Malformed:
    return Malformed("not a JSON object", payload)


def _only_element(text: str) -> Element:
    element, end = _element_at(text, 0)
    _expect_end(text, end)
    return element


def _array_elements(text: str) -> list[Element]:
    found: list[Element] = []
    position = _skip_space(text, 1)
    if text[position : position + 1] == "]":
        _expect_end(text, position + 1)
        return found
    while True:
        element, position = _element_at(text, position)
        found.append(element)
        position = _skip_space(text, position)
        separator = text[position : position + 1]
        if separator == "]":
            _expect_end(text, position + 1)
            return found
        if separator != ",":
            raise ValueError(f"expected , or ] at character {position}")
        position = _skip_space(text, position + 1)


def _expect_end(text: str, position: int) -> None:
    if position != len(text):
        raise ValueError(f"unexpected text at character {position}")


def _element_at(text: str, position: int) -> tuple[Element, int]:
    """The element that begins at a position, and where it ends."""
    try:
        value, end = _DECODER.raw_decode(text, position)
        value = _repaired(value)
        payload = orjson.dumps(value)
    except (RecursionError, orjson.JSONEncodeError):
        end = _end_of_nesting(text, position)
        return Malformed("nested too deeply", text[position:end].encode("utf-8", "replace")), end
    return value if isinstance(value, dict) else _not_an_object(payload), end


def _end_of_nesting(text: str, position: int) -> int:
    depth = 0
    for token in _JSON_TOKEN.finditer(text, position):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
            if depth == 0:
                return token.end()
    raise ValueError("brackets are not closed")


def _skip_space(text: str, position: int) -> int:
    match = _JSON_SPACE.match(text, position)
    assert match is not None
    return match.end()


def _repaired(value: object) -> object:
    """Lone surrogates cannot be written as UTF-8: they become U+FFFD."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_repaired(member) for member in value]
    if isinstance(value, dict):
        return {_SURROGATE.sub("\ufffd", key): _repaired(member) for key, member in value.items()}
    return value


def _integer(digits: str) -> int | str:
    if len(digits) <= _INTEGER_DIGITS + 1 and -(2**63) <= (number := int(digits)) < 2**64:
        return number
    return digits


def _number(literal: str) -> float | str:
    number = float(literal)
    return number if abs(number) < 2**63 else literal


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=str, strict=False)
