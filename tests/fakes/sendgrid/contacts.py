"""Reading, finding and deleting contacts (facts 2.1), and taking identifiers from them (facts 1.1)."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.fakes.sendgrid.api import Json, Refusal, Request, Route, invalid, not_found, strings
from tests.fakes.sendgrid.behaviour import Limits
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import IDENTIFIERS, Contact
from tests.fakes.sendgrid.jobs import Job, Jobs
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.sendgrid.rows import is_email, is_phone
from tests.fakes.sendgrid.sgql import matcher
from tests.fakes.sendgrid.shown import Shown
from tests.fakes.server import Answer

_LONGEST_LOOKUP = 100
_KINDS = {
    "EMAIL": "email",
    "PHONENUMBERID": "phone_number_id",
    "EXTERNALID": "external_id",
    "ANONYMOUSID": "anonymous_id",
}


class Contacts:
    """What can be asked about contacts. All reads lag behind writes by `Timing`."""

    def __init__(self, limits: Limits, book: ContactBook, jobs: Jobs, shown: Shown) -> None:
        self._limits = limits
        self._book = book
        self._jobs = jobs
        self._shown = shown

    def routes(self) -> Iterator[Route]:
        """There is none to list them all: only a sample, and exports."""
        path = "/v3/marketing/contacts"
        yield Route("GET", path, self._sample, MARKETING)
        yield Route("DELETE", path, self._delete, MARKETING, writes=True)
        yield Route("GET", path + "/count", self._count, MARKETING)
        yield Route("POST", path + "/batch", self._batch, MARKETING)
        yield Route("POST", path + "/search", self._search, MARKETING)
        yield Route("POST", path + "/search/emails", self._search_emails, MARKETING)
        yield Route("POST", path + "/search/identifiers/{kind}", self._search_identifiers, MARKETING)
        yield Route("GET", path + "/{id}", self._get, MARKETING)
        yield Route("DELETE", path + "/{id}/identifiers", self._remove_identifier, MARKETING, writes=True)

    def _sample(self, request: Request) -> Answer:
        """The most recent ones, sorted by email; not a way to read all."""
        everybody = self._book.visible.by_id
        recent = list(everybody.values())[-self._limits.sample :]
        return Answer(
            body={
                "result": [self._shown.contact(each, request) for each in sorted(recent, key=lambda each: each.email)],
                "contact_count": len(everybody),
                "_metadata": {"self": request.call.origin + request.call.path},
            }
        )

    def _count(self, _: Request) -> Answer:
        count = len(self._book.visible.by_id)
        return Answer(body={"contact_count": count, "billable_count": count})

    def _get(self, request: Request) -> Answer:
        contact = self._book.visible.by_id.get(request.id)
        if contact is None:
            raise not_found("contact not found")
        return Answer(body=self._shown.contact(contact, request))

    def _batch(self, request: Request) -> Answer:
        ids = strings(request.json().get("ids"), "ids", self._limits.lookups)
        found = [contact for each in ids if (contact := self._book.visible.by_id.get(each))]
        return Answer(body={"result": [self._shown.contact(each, request) for each in found]})

    def _search(self, request: Request) -> Answer:
        """At most 50 of them, with the count of all."""
        query = request.json().get("query")
        if not isinstance(query, str) or not query:
            raise invalid("query", "query is required")
        try:
            matches = matcher(query)
        except ValueError as error:
            raise invalid("query", f"invalid query: {error}") from error
        found = [each for each in self._book.visible.by_id.values() if matches(self._shown.row(each))]
        return Answer(
            body={
                "result": [self._shown.contact(each, request) for each in found[: self._limits.sample]],
                "contact_count": len(found),
                "_metadata": {"self": request.call.origin + request.call.path},
            }
        )

    def _search_emails(self, request: Request) -> Answer:
        """Keyed by lower-case address; also those who have it as an alternate one."""
        emails = [
            each.lower() for each in strings(request.json().get("emails"), "emails", self._limits.lookups) if each
        ]

        def find(email: str) -> Contact | None:
            return self._book.visible.find("email", email) or self._book.visible.with_alternate(email)

        return self._found(request, emails, find, lambda each: len(each) <= _LONGEST_LOOKUP and is_email(each))

    def _search_identifiers(self, request: Request) -> Answer:
        kind = request.params["kind"]
        if kind not in IDENTIFIERS:
            raise not_found()
        values = [
            each for each in strings(request.json().get("identifiers"), "identifiers", self._limits.lookups) if each
        ]
        if kind == "email":
            values = [each.lower() for each in values]
        forms = {"email": is_email, "phone_number_id": is_phone}
        return self._found(request, values, lambda each: self._book.visible.find(kind, each), forms.get(kind, bool))

    def _found(
        self,
        request: Request,
        values: list[str],
        find: Callable[[str], Contact | None],
        is_well_formed: Callable[[str], bool],
    ) -> Answer:
        """200 if any was found, 404 if none, 400 if one is malformed."""
        malformed = [each for each in values if not is_well_formed(each)]
        if malformed or not values:
            named = [("identifiers", f"'{each}' is not valid") for each in malformed]
            raise Refusal(400, *(named or [("identifiers", "at least one is required")]))
        result: dict[str, Json] = {}
        for value in values:
            contact = find(value)
            result[value] = (
                {"contact": self._shown.contact(contact, request)} if contact else {"error": "contact not found"}
            )
        status = 200 if any("contact" in each for each in result.values()) else 404
        return Answer(status, {"result": result})

    def _delete(self, request: Request) -> Answer:
        """Of `ids` and `delete_all_contacts` exactly one."""
        ids = [each for each in request.query.get("ids", "").split(",") if each]
        if bool(ids) == (request.query.get("delete_all_contacts") == "true"):
            raise invalid("ids", "exactly one of ids and delete_all_contacts is required")

        def effect(job: Job) -> None:
            job.deleted = self._book.delete(ids or list(self._book.actual.by_id))

        return self._jobs.start("delete", len(ids) or len(self._book.actual.by_id), effect)

    def _remove_identifier(self, request: Request) -> Answer:
        """The job fails where it is the contact's only one."""
        body = request.json()
        kind = _KINDS.get(body.get("identifier_type", ""))
        if kind is None:
            raise invalid("identifier_type", "identifier_type must be one of " + ", ".join(_KINDS))
        contact_id, value = request.id, body.get("identifier_value")

        def effect(job: Job) -> None:
            contact = self._book.actual.by_id.get(contact_id)
            having = [each for each in IDENTIFIERS if contact and each in contact.fields]
            if contact is None or contact.fields.get(kind) != value or len(having) == 1:
                job.errors.append(({kind: value}, "the contact has no other identifier, or not this one"))
                return
            fields = {name: each for name, each in contact.fields.items() if name != kind}
            self._book.write([replace(contact, fields=fields)])
            job.updated = 1

        return self._jobs.start("delete", 1, effect)
