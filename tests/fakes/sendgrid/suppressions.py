"""Suppressions and unsubscribe groups: bare arrays with limit and offset (facts 7.1)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Json, Request, Route
from tests.fakes.server import Answer

Kind = Literal["bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes"]
_KINDS: tuple[Kind, ...] = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes")
_PAGE = 500


@dataclass(slots=True)
class Group:
    """An unsubscribe group.

    Attributes:
        id: a number.
        name: of the group.
        description: of the group.
        is_default: whether it is the account's.
    """

    id: int
    name: str
    description: str
    is_default: bool


class Suppressions:
    """Who does not get mail.

    Attributes:
        entries: of each kind, as they are shown.
        groups: by id.
        group_entries: who left which group, as they are shown.
    """

    def __init__(self, clock: Clock) -> None:
        self.entries: dict[Kind, list[dict[str, Json]]] = {kind: [] for kind in _KINDS}
        self.groups: dict[int, Group] = {}
        self.group_entries: list[dict[str, Json]] = []
        self._clock = clock

    def add(self, kind: Kind, email: str, **fields: Json) -> None:
        """Somebody more; `created` is now unless it is among the fields."""
        self.entries[kind].append({"created": int(self._clock.now()), "email": email} | fields)

    def add_group(self, name: str, description: str, *, is_default: bool) -> Group:
        """A new group."""
        new = Group(len(self.groups) + 1, name, description, is_default)
        self.groups[new.id] = new
        return new

    def leave(self, group: Group, email: str) -> None:
        """Somebody leaves a group."""
        entry = {"email": email, "group_id": group.id, "group_name": group.name, "created_at": int(self._clock.now())}
        self.group_entries.append(entry)

    def routes(self) -> Iterator[Route]:
        """Reading only."""
        for kind in _KINDS:
            listed = partial(self._list, partial(self.entries.__getitem__, kind), "created")
            yield Route("GET", f"/v3/suppression/{kind}", listed, "suppression.read")
        yield Route(
            "GET",
            "/v3/asm/suppressions",
            partial(self._list, lambda: self.group_entries, "created_at"),
            "asm.groups.read",
        )
        yield Route("GET", "/v3/asm/groups", self._groups, "asm.groups.read")

    def _list(self, entries: Callable[[], list[dict[str, Json]]], created: str, request: Request) -> Answer:
        """At most 500 at once; `start_time` and `end_time` are epoch seconds, both included."""
        limit = request.integer("limit", _PAGE, 1, _PAGE)
        offset = request.integer("offset", 0, 0, 10**9)
        since = request.integer("start_time", 0, 0, 10**12)
        until = request.integer("end_time", 10**12, 0, 10**12)
        found = [each for each in entries() if since <= each[created] <= until]
        return Answer(body=found[offset : offset + limit])

    def _groups(self, _: Request) -> Answer:
        return Answer(
            body=[
                {
                    "id": each.id,
                    "name": each.name,
                    "description": each.description,
                    "is_default": each.is_default,
                    "unsubscribes": sum(entry["group_id"] == each.id for entry in self.group_entries),
                }
                for each in self.groups.values()
            ]
        )
