"""Segments 2.0 (facts 2.5). Who is in one is what a test says: queries are kept, not run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.fakes.clock import Clock, iso
from tests.fakes.sendgrid.api import Ids, Json, Request, Route, invalid, not_found, strings, text
from tests.fakes.sendgrid.behaviour import Limits
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import Contact
from tests.fakes.sendgrid.fields import Fields
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.sendgrid.shown import Shown
from tests.fakes.server import Answer

_HOUR = 3600.0
_DAY = 24 * _HOUR
_REFRESHES_A_DAY = 2
_REFRESHES_A_DAY_OVERALL = 10
_MOST_IDS = 50


@dataclass(slots=True)
class Segment:
    """One segment.

    Attributes:
        id: SendGrid's.
        name: unique, at most 100 characters.
        query_dsl: SQL that selects contact_id and updated_at from contact_data.
        parent_list_ids: at most one.
        created_at: seconds since 1970,
        updated_at: as well.
        contact_ids: who is in it.
        counted: how many of them SendGrid says there are, which can be a day old; None is the number of contact_ids.
        error_message: of its query; empty is a valid one.
        refreshed_at: each time it was.
    """

    id: str
    name: str
    query_dsl: str
    parent_list_ids: list[str]
    created_at: float
    updated_at: float
    contact_ids: set[str] = field(default_factory=set)
    counted: int | None = None
    error_message: str = ""
    refreshed_at: list[float] = field(default_factory=list)


class Segments:
    """All segments.

    Attributes:
        all: by id.
    """

    def __init__(self, clock: Clock, ids: Ids, limits: Limits, book: ContactBook, fields: Fields) -> None:
        self.all: dict[str, Segment] = {}
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._book = book
        self._shown = Shown(fields, self.of)

    def add(self, name: str, query_dsl: str, parent_list_ids: list[str], contact_ids: set[str]) -> Segment:
        """A new segment."""
        now = self._clock.now()
        new = Segment(self._ids.uuid(), name, query_dsl, parent_list_ids, now, now, contact_ids)
        self.all[new.id] = new
        return new

    def members(self, segment_id: str) -> list[Contact]:
        """Who is in it, as reads show them."""
        visible = self._book.visible.by_id
        return [visible[each] for each in self.all[segment_id].contact_ids if each in visible]

    def of(self, contact: Contact) -> list[str]:
        """The ids of the segments that it is in."""
        return sorted(each.id for each in self.all.values() if contact.id in each.contact_ids)

    def routes(self) -> Iterator[Route]:
        """The list is not paged, and its wrapper is `results`."""
        path = "/v3/marketing/segments/2.0"
        yield Route("GET", path, self._list, MARKETING)
        yield Route("POST", path, self._create, MARKETING, writes=True)
        yield Route("GET", path + "/{id}", self._get, MARKETING)
        yield Route("PATCH", path + "/{id}", self._change, MARKETING, writes=True)
        yield Route("DELETE", path + "/{id}", self._delete, MARKETING, writes=True)
        yield Route("POST", path + "/refresh/{id}", self._refresh, MARKETING, writes=True)

    def _list(self, request: Request) -> Answer:
        ids, parents = (_listed(request, name) for name in ("ids", "parent_list_ids"))
        orphans = request.query.get("no_parent_list_id") == "true"
        found = [
            each
            for each in self.all.values()
            if (not ids or each.id in ids)
            and (not parents or parents.intersection(each.parent_list_ids))
            and not (orphans and each.parent_list_ids)
        ]
        return Answer(body={"results": [self._json(each, request) for each in found]})

    def _create(self, request: Request) -> Answer:
        body = request.json()
        name, query = self._name(body), text(body, "query_dsl", 100_000)
        new = self.add(name, query, list(strings(body.get("parent_list_ids") or [], "parent_list_ids", 1)), set())
        return Answer(201, self._full(new, request))

    def _get(self, request: Request) -> Answer:
        one = self._one(request)
        body = self._full(one, request)
        if request.query.get("contacts_sample") != "false":
            members = self.members(one.id)[: self._limits.sample]
            body["contacts_sample"] = [self._shown.contact(each, request) for each in members]
        return Answer(body=body)

    def _change(self, request: Request) -> Answer:
        one, body = self._one(request), request.json()
        if "name" in body:
            one.name = self._name(body, one)
        if "query_dsl" in body:
            one.query_dsl = text(body, "query_dsl", 100_000)
        one.updated_at = self._clock.now()
        return Answer(200, self._full(one, request))

    def _delete(self, request: Request) -> Answer:
        del self.all[self._one(request).id]
        return Answer(202)

    def _refresh(self, request: Request) -> Answer:
        """Twice a day and once an hour each, ten times a day in all; errors have a form of their own (facts 0)."""
        one, now = self._one(request), self._clock.now()
        today = [at for at in one.refreshed_at if at > now - _DAY]
        overall = sum(at > now - _DAY for each in self.all.values() for at in each.refreshed_at)
        if (
            len(today) >= _REFRESHES_A_DAY
            or any(at > now - _HOUR for at in today)
            or overall >= _REFRESHES_A_DAY_OVERALL
        ):
            return Answer(429, {"error": "refresh limit reached"})
        one.refreshed_at.append(now)
        return Answer(202, {"job_id": self._ids.uuid()})

    def _one(self, request: Request) -> Segment:
        if request.id not in self.all:
            raise not_found("segment not found")
        return self.all[request.id]

    def _name(self, body: Mapping[str, Json], own: Segment | None = None) -> str:
        name = text(body, "name", 100)
        if any(each.name == name and each is not own for each in self.all.values()):
            raise invalid("name", f"a segment named '{name}' already exists")
        return name

    def _json(self, one: Segment, request: Request) -> dict[str, Json]:
        return {
            "id": one.id,
            "name": one.name,
            "contacts_count": len(one.contact_ids) if one.counted is None else one.counted,
            "created_at": iso(one.created_at),
            "updated_at": iso(one.updated_at),
            "sample_updated_at": iso(one.updated_at),
            "next_sample_update": iso(one.updated_at + _HOUR),
            "parent_list_ids": one.parent_list_ids,
            "query_version": "2",
            "status": {
                "query_validation": "INVALID" if one.error_message else "VALID",
                "error_message": one.error_message,
            },
            "_metadata": {"self": f"{request.call.origin}/v3/marketing/segments/2.0/{one.id}"},
        }

    def _full(self, one: Segment, request: Request) -> dict[str, Json]:
        used = [at for at in one.refreshed_at if at > self._clock.now() - _DAY]
        return self._json(one, request) | {
            "query_dsl": one.query_dsl,
            "refreshes_used": len(used),
            "max_refreshes": _REFRESHES_A_DAY,
            "last_refreshed_at": iso(used[-1]) if used else "",
        }


def _listed(request: Request, name: str) -> set[str]:
    ids = {each for each in request.query.get(name, "").split(",") if each}
    if len(ids) > _MOST_IDS:
        raise invalid(name, f"{name} can have at most {_MOST_IDS} ids")
    return ids
