"""What becomes of personal data before anything downstream sees it. Who is forgotten is known by a mark, never by name.

Pure: the same element, settings and key give the same result.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal
from urllib.parse import unquote

import orjson

from schemas.events import EVENTS, UNKNOWN

Action = Literal["keep", "hash", "drop"]
Later = Literal["drop", "pseudonymize", "keep"]
"""What becomes of an event of somebody who was forgotten before it came in."""

_REMEMBERED_MARKS = 100_000
_MARK_BYTES = 16
ADDRESS = r"""[^\s"<>,;:()\[\]\\@=&?/|{}]+@[^\s"<>,;:()\[\]\\@=&?/|{}'%]+"""
"""A regular expression for what may be an address in a text: for Python's engine and for ClickHouse's, RE2."""
QUOTES = "'."
"""What may stand around an address and be part of what the expression finds."""
_ADDRESS = re.compile(ADDRESS)
_PERSONAL = ("ip", "useragent")
_CHECKED = "gridstream"


def addresses(text: str) -> Iterator[str]:
    """What may be addresses in a text, in lower case; also those that a URL has encoded."""
    lowered = text.lower()
    for each in (lowered, unquote(lowered)) if "%40" in lowered else (lowered,):
        for found in _ADDRESS.findall(each):
            yield found.strip(QUOTES)


def is_plain(address: str) -> bool:
    """Whether an address is found among other words of a text."""
    return _ADDRESS.fullmatch(address) is not None and address == address.strip(QUOTES)


class Marks:
    """Keyed hashes: whoever lacks the key cannot confirm a guess. Keyed BLAKE2 is a MAC by itself (RFC 7693).

    Args:
        key: the installation's secret.
    """

    def __init__(self, key: str) -> None:
        self._key = blake2b(key.encode()).digest()
        self._known: dict[str, str] = {}
        self.check = self(_CHECKED)
        """What another key would give another value of."""

    def __call__(self, value: str) -> str:
        """The mark of an address or a user id: 32 hexadecimal digits."""
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= _REMEMBERED_MARKS:
                self._known.clear()
            digest = blake2b(value.encode("utf-8", "replace"), key=self._key, digest_size=_MARK_BYTES)
            known = self._known[value] = digest.hexdigest()
        return known

    def of_identity(self, identity: int) -> int:
        """What stands for the identity of an event that is removed, as the identity may tell whose it is."""
        return int.from_bytes(blake2b(identity.to_bytes(8, "big"), key=self._key, digest_size=8).digest(), "big")


class People(dict[str, int]):
    """Who is forgotten: since when, in milliseconds since 1970, by mark.

    Attributes:
        newest: of these times.
    """

    newest = 0

    def add(self, mark: str, at: int) -> None:
        """One more, or again."""
        self[mark] = max(at, self.get(mark, 0))
        self.newest = max(at, self.newest)


@dataclass(frozen=True, slots=True)
class Rules:
    """What of an event is stored.

    Attributes:
        email: the recipient's address, wherever in the event it is.
        ip: of the recipient's device.
        useragent: of the recipient's device.
        url_query: of links: what is behind `?` and `#`.
    """

    email: Action = "keep"
    ip: Action = "keep"
    useragent: Action = "keep"
    url_query: Literal["keep", "drop"] = "keep"

    @property
    def change(self) -> bool:
        """Whether they change anything."""
        return self != Rules()

    @property
    def hash(self) -> bool:
        """Whether a key is needed."""
        return "hash" in (self.email, self.ip, self.useragent)


_DEVICES = {
    event.name: tuple(
        name
        for name in _PERSONAL
        if event is UNKNOWN or any(column.name == name and column.of_recipient for column in event.columns)
    )
    for event in EVENTS
}
"""By wire name: which fields tell of the recipient's device, and not of a mail server."""


class Guard:
    """What becomes of the elements of one source.

    Args:
        rules: of the source.
        marks: None where there is no key, and nothing that would need one.
        forgotten: who is; they may become more.
        user_id_key: the custom argument that holds the user id.
        later: what becomes of later events of those.
    """

    def __init__(
        self,
        rules: Rules,
        marks: Marks | None,
        forgotten: People,
        user_id_key: str,
        later: Later = "drop",
    ) -> None:
        self._rules = rules
        self._marks = marks
        self._forgotten = forgotten
        self._user_id_key = user_id_key
        self._later = later
        self._change = rules.change

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self._change or bool(self._forgotten)

    def __call__(self, element: dict[str, object], received_at: int) -> dict[str, object] | None:
        """An element as it may be seen; None where it may not.

        Args:
            element: of a body.
            received_at: when, in milliseconds since 1970.
        """
        rules = self._rules
        if self._forgotten:
            since = self._since(element, received_at)
            if since >= received_at or (since and self._later == "drop"):
                return None
            if since and self._later == "pseudonymize":
                rules = Rules("hash" if rules.email == "keep" else rules.email, "drop", "drop", "drop")
        return self._applied(rules, element) if rules.change else element

    def payload(self, payload: bytes) -> bytes | None:
        """What may be kept of what is no event; None where it mentions somebody who is forgotten."""
        if not self._forgotten and self._rules.email == "keep":
            return payload
        text = payload.decode("utf-8", "replace")
        found = set(addresses(text))
        if self._forgotten and any(self._mark(each) in self._forgotten for each in found):
            return None
        if self._rules.email == "keep" or not found:
            return payload
        for each in sorted(found, key=len, reverse=True):
            text = _replaced(text, each, self._hidden(self._rules.email, each))
        return text.encode("utf-8", "replace")

    def identity(self, identity: int) -> int:
        """What stands for the identity of an event that was removed."""
        return self._marks.of_identity(identity) if self._marks else identity

    def _since(self, element: dict[str, object], received_at: int) -> int:
        """Since when the person of an element is forgotten; 0: is not."""
        names = [_name(element.get("email")), _name(element.get(self._user_id_key))]
        known = [self._forgotten.get(self._mark(name), 0) for name in names if name]
        if not any(known) and received_at <= self._forgotten.newest:
            # It was there when somebody was forgotten, so all that mentioned them had to go.
            text = orjson.dumps(element).decode()
            known = [at for each in addresses(text) if (at := self._forgotten.get(self._mark(each), 0)) >= received_at]
        return max(known, default=0)

    def _mark(self, name: str) -> str:
        return self._marks(name) if self._marks else ""

    def _applied(self, rules: Rules, element: dict[str, object]) -> dict[str, object]:
        made = dict(element)
        address = _name(element.get("email"))
        if rules.email != "keep" and address:
            hidden = self._hidden(rules.email, address)
            made = {name: _without(value, address, hidden) for name, value in element.items()}
            made["email"] = hidden
        for name in _DEVICES.get(str(element.get("event")), _PERSONAL):
            action = getattr(rules, name)
            if action != "keep" and name in made:
                made[name] = self._hidden(action, str(made[name]))
        url = made.get("url")
        if rules.url_query == "drop" and isinstance(url, str):
            made["url"] = re.split(r"[?#]", url, maxsplit=1)[0]
        return made

    def _hidden(self, action: Action, value: str) -> str:
        return self._mark(value) if action == "hash" and value else ""


def _name(value: object) -> str:
    """An address or a user id as it is compared."""
    if isinstance(value, str):
        return value.strip().lower()
    return str(value) if type(value) is int else ""


def _without(value: Any, address: str, hidden: str) -> Any:  # noqa: ANN401  any JSON
    """A value in which something else stands for an address."""
    if isinstance(value, str):
        return _replaced(value, address, hidden)
    if isinstance(value, list):
        return [_without(member, address, hidden) for member in value]
    if isinstance(value, dict):
        return {name: _without(member, address, hidden) for name, member in value.items()}
    return value


def _replaced(text: str, address: str, hidden: str) -> str:
    if "@" not in text and "%40" not in text:
        return text
    pattern = re.escape(address).replace("@", "(?:@|%40)").replace(r"\+", r"(?:\+|%2b)")
    return re.sub(pattern, lambda _: hidden, text, flags=re.IGNORECASE)
