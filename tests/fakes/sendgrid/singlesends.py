"""Single Sends and their statistics (facts 2.7)."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Literal

from tests.fakes.clock import Clock, iso
from tests.fakes.sendgrid.api import Ids, Json, Request, Route, invalid, not_found, page, strings, text
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.server import Answer

_STATISTICS = (
    "bounce_drops",
    "bounces",
    "clicks",
    "unique_clicks",
    "delivered",
    "invalid_emails",
    "opens",
    "unique_opens",
    "requests",
    "spam_report_drops",
    "spam_reports",
    "unsubscribes",
)
_MOST_DELETED = 50
_MOST_CATEGORIES = 10


@dataclass(slots=True)
class SingleSend:
    """One Single Send.

    Attributes:
        id: SendGrid's.
        name: 1 to 100 characters.
        created_at: seconds since 1970,
        updated_at: as well.
        status: as SendGrid says it.
        categories: at most 10.
        send_at: ISO; None where it is not planned.
        send_to: list_ids, segment_ids, all.
        email_config: subject, html_content and so on.
        abtest: its settings; None where it is none.
        stats: what came of it, by name; what is missing is 0.
    """

    id: str
    name: str
    created_at: float
    updated_at: float
    status: Literal["draft", "scheduled", "triggered"] = "draft"
    categories: list[str] = field(default_factory=list)
    send_at: str | None = None
    send_to: dict[str, Json] = field(default_factory=dict)
    email_config: dict[str, Json] = field(default_factory=dict)
    abtest: dict[str, Json] | None = None
    stats: dict[str, int] = field(default_factory=dict)


class SingleSends:
    """All Single Sends.

    Attributes:
        all: by id.
    """

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self.all: dict[str, SingleSend] = {}
        self._clock = clock
        self._ids = ids

    def add(self, name: str) -> SingleSend:
        """A new draft."""
        now = self._clock.now()
        new = SingleSend(self._ids.uuid(), name, now, now)
        self.all[new.id] = new
        return new

    def routes(self) -> Iterator[Route]:
        """Those of the sends, then those of the statistics."""
        path = "/v3/marketing/singlesends"
        yield Route("GET", path, self._page, MARKETING)
        yield Route("POST", path, self._create, MARKETING, writes=True)
        yield Route("DELETE", path, self._delete_several, MARKETING, writes=True)
        yield Route("POST", path + "/search", self._search, MARKETING)
        yield Route("GET", path + "/categories", self._categories, MARKETING)
        yield Route("GET", path + "/{id}", self._get, MARKETING)
        yield Route("POST", path + "/{id}", self._duplicate, MARKETING, writes=True)
        yield Route("PATCH", path + "/{id}", self._change, MARKETING, writes=True)
        yield Route("DELETE", path + "/{id}", self._delete, MARKETING, writes=True)
        yield Route("PUT", path + "/{id}/schedule", self._schedule, MARKETING, writes=True)
        yield Route("DELETE", path + "/{id}/schedule", self._unschedule, MARKETING, writes=True)
        yield Route("GET", "/v3/marketing/stats/singlesends", self._stats_page, MARKETING)
        yield Route("GET", "/v3/marketing/stats/singlesends/{id}", self._stats, MARKETING)

    def _page(self, request: Request) -> Answer:
        return self._shown(request, self.all)

    def _search(self, request: Request) -> Answer:
        body = request.json(default={})
        statuses, categories = body.get("status") or [], set(body.get("categories") or [])
        return self._shown(
            request,
            {
                each.id: each
                for each in self.all.values()
                if body.get("name", "") in each.name
                and (not statuses or each.status in statuses)
                and (not categories or categories.intersection(each.categories))
            },
        )

    def _shown(self, request: Request, sends: Mapping[str, SingleSend]) -> Answer:
        found, metadata = page(request, sends, default=100, most=100)
        return Answer(body={"result": [_short(each) for each in found], "_metadata": metadata})

    def _categories(self, _: Request) -> Answer:
        used = dict.fromkeys(category for each in self.all.values() for category in each.categories)
        return Answer(body={"categories": list(used)[-1000:]})

    def _create(self, request: Request) -> Answer:
        """A draft, also with a `send_at`; `now` is an error here."""
        body = request.json()
        if body.get("send_at") == "now":
            raise invalid("send_at", "send_at cannot be now when a single send is created")
        new = self.add(text(body, "name", 100))
        _fill(new, body)
        return Answer(201, _full(new))

    def _get(self, request: Request) -> Answer:
        return Answer(body=_full(self._one(request)))

    def _duplicate(self, request: Request) -> Answer:
        old = self._one(request)
        new = self.add(request.json(default={}).get("name") or f"Copy of {old.name}"[:100])
        _fill(new, deepcopy(_full(old)))
        return Answer(201, _full(new))

    def _change(self, request: Request) -> Answer:
        one, body = self._one(request), request.json()
        if "name" in body:
            one.name = text(body, "name", 100)
        _fill(one, body)
        one.updated_at = self._clock.now()
        return Answer(202, _full(one))

    def _delete(self, request: Request) -> Answer:
        del self.all[self._one(request).id]
        return Answer(204)

    def _delete_several(self, request: Request) -> Answer:
        ids = [each for each in request.query.get("ids", "").split(",") if each]
        if not 1 <= len(ids) <= _MOST_DELETED:
            raise invalid("ids", f"ids must have 1 to {_MOST_DELETED} ids")
        for each in ids:
            self.all.pop(each, None)
        return Answer(204)

    def _schedule(self, request: Request) -> Answer:
        one, when = self._one(request), text(request.json(), "send_at", 40)
        one.send_at = self._clock.iso() if when == "now" else when
        one.status = "triggered" if when == "now" else "scheduled"
        one.updated_at = self._clock.now()
        return Answer(201, {"send_at": one.send_at, "status": "scheduled"})

    def _unschedule(self, request: Request) -> Answer:
        one = self._one(request)
        one.status, one.send_at, one.updated_at = "draft", None, self._clock.now()
        return Answer(200, {"send_at": None, "status": "draft"})

    def _stats_page(self, request: Request) -> Answer:
        """Only of those that have been sent."""
        sent = {each.id: each for each in self.all.values() if each.status == "triggered"}
        found, metadata = page(request, sent, default=25, most=50)
        return Answer(body={"results": [_stats(each) for each in found], "_metadata": metadata})

    def _stats(self, request: Request) -> Answer:
        one = self._one(request)
        url = request.call.origin + request.call.path
        return Answer(body={"results": [_stats(one)], "_metadata": {"self": url, "count": 1}})

    def _one(self, request: Request) -> SingleSend:
        if request.id not in self.all:
            raise not_found("single send not found")
        return self.all[request.id]


def _fill(one: SingleSend, body: Mapping[str, Json]) -> None:
    if "categories" in body:
        one.categories = list(strings(body["categories"], "categories", _MOST_CATEGORIES))
    if "send_at" in body:
        one.send_at = body["send_at"]
    if "send_to" in body:
        one.send_to = body["send_to"]
    if "email_config" in body:
        one.email_config = body["email_config"]


def _short(one: SingleSend) -> dict[str, Json]:
    return {
        "id": one.id,
        "name": one.name,
        "status": one.status,
        "categories": one.categories,
        "send_at": one.send_at,
        "is_abtest": one.abtest is not None,
        "abtest": one.abtest,
        "updated_at": iso(one.updated_at),
        "created_at": iso(one.created_at),
    }


def _full(one: SingleSend) -> dict[str, Json]:
    return _short(one) | {"send_to": one.send_to, "email_config": one.email_config, "warnings": []}


def _stats(one: SingleSend) -> dict[str, Json]:
    return {
        "id": one.id,
        "ab_phase": "all",
        "ab_variation": "all",
        "aggregation": "total",
        "stats": {name: one.stats.get(name, 0) for name in _STATISTICS},
    }
