"""Lists of contacts (facts 2.2)."""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.sendgrid.api import Ids, Json, Request, Route, invalid, not_found, page, text
from tests.fakes.sendgrid.behaviour import Choices, Limits
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.jobs import Job, Jobs
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.sendgrid.shown import Shown
from tests.fakes.server import Answer


@dataclass(slots=True)
class ContactList:
    """One list. It carries no times.

    Attributes:
        id: 36 characters.
        name: 1 to 100 characters.
    """

    id: str
    name: str


class Lists:
    """All lists.

    Attributes:
        all: by id.
    """

    def __init__(self, ids: Ids, limits: Limits, choices: Choices, book: ContactBook, jobs: Jobs, shown: Shown) -> None:
        self.all: dict[str, ContactList] = {}
        self._ids = ids
        self._limits = limits
        self._choices = choices
        self._book = book
        self._jobs = jobs
        self._shown = shown

    def add(self, name: str) -> ContactList:
        """A new list."""
        new = ContactList(self._ids.uuid(), name)
        self.all[new.id] = new
        return new

    def named(self, name: str) -> ContactList | None:
        """The first list of this name."""
        return next((each for each in self.all.values() if each.name == name), None)

    def routes(self) -> Iterator[Route]:
        """There is none for the members of a list."""
        path = "/v3/marketing/lists"
        yield Route("GET", path, self._page, MARKETING)
        yield Route("POST", path, self._create, MARKETING, writes=True)
        yield Route("GET", path + "/{id}", self._get, MARKETING)
        yield Route("PATCH", path + "/{id}", self._rename, MARKETING, writes=True)
        yield Route("DELETE", path + "/{id}", self._delete, MARKETING, writes=True)
        yield Route("GET", path + "/{id}/contacts/count", self._count, MARKETING)
        yield Route("DELETE", path + "/{id}/contacts", self._remove_members, MARKETING, writes=True)

    def _page(self, request: Request) -> Answer:
        lists, metadata = page(request, self.all)
        return Answer(body={"result": [self._json(each, request) for each in lists], "_metadata": metadata})

    def _create(self, request: Request) -> Answer:
        name = self._name(request)
        if len(self.all) >= self._limits.lists:
            raise invalid(None, f"an account can have at most {self._limits.lists} lists")
        return Answer(201, self._json(self.add(name), request))

    def _get(self, request: Request) -> Answer:
        one = self._one(request)
        body = self._json(one, request)
        if request.query.get("contact_sample") == "true":
            members = self._book.visible.on_lists([one.id])[: self._limits.sample]
            body["contact_sample"] = [self._shown.contact(each, request) for each in members]
        return Answer(body=body)

    def _rename(self, request: Request) -> Answer:
        one = self._one(request)
        one.name = self._name(request, one)
        return Answer(200, self._json(one, request))

    def _delete(self, request: Request) -> Answer:
        """204; with `delete_contacts=true` the contacts go too, in a job."""
        one = self._one(request)
        members = set(self._book.actual.members(one.id))
        del self.all[one.id]
        if request.query.get("delete_contacts") != "true":
            self._book.leave(members, [one.id])
            return Answer(204)

        def effect(job: Job) -> None:
            job.deleted = self._book.delete(members)

        return Answer(200, self._jobs.start("delete", len(members), effect).body)

    def _count(self, request: Request) -> Answer:
        count = len(self._book.visible.members(self._one(request).id))
        return Answer(body={"contact_count": count, "billable_count": count})

    def _remove_members(self, request: Request) -> Answer:
        """Membership only, in a job; 404 if the list or any contact does not exist."""
        one = self._one(request)
        ids = [each for each in request.query.get("contact_ids", "").split(",") if each]
        if not ids:
            raise invalid("contact_ids", "contact_ids is required")
        if any(each not in self._book.actual.by_id for each in ids):
            raise not_found("contact not found")

        def effect(job: Job) -> None:
            job.deleted = self._book.leave(ids, [one.id])

        return self._jobs.start("remove_from_list", len(ids), effect, is_readable=False)

    def _one(self, request: Request) -> ContactList:
        if request.id not in self.all:
            raise not_found("list not found")
        return self.all[request.id]

    def _name(self, request: Request, own: ContactList | None = None) -> str:
        name = text(request.json(), "name", 100)
        if self._choices.unique_list_names and self.named(name) not in (None, own):
            raise invalid("name", f"a list named '{name}' already exists")
        return name

    def _json(self, one: ContactList, request: Request) -> dict[str, Json]:
        return {
            "id": one.id,
            "name": one.name,
            "contact_count": len(self._book.visible.members(one.id)),
            "_metadata": {"self": f"{request.call.origin}/v3/marketing/lists/{one.id}"},
        }
