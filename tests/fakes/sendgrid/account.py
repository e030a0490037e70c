"""A fake SendGrid account: its areas, wired."""

import re
from collections.abc import Iterable, Mapping
from inspect import isawaitable

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Ids, Json, Refusal, Request, Route
from tests.fakes.sendgrid.behaviour import Choices, Limits, Timing
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import Contact
from tests.fakes.sendgrid.contacts import Contacts
from tests.fakes.sendgrid.event_webhook import EventWebhooks
from tests.fakes.sendgrid.exports import Export, ExportPlan, Exports
from tests.fakes.sendgrid.fields import CustomField, Fields, FieldType
from tests.fakes.sendgrid.files import Files
from tests.fakes.sendgrid.jobs import Job, Jobs, Plan
from tests.fakes.sendgrid.keys import FULL_ACCESS, Keys
from tests.fakes.sendgrid.lists import ContactList, Lists
from tests.fakes.sendgrid.mail import MailSend
from tests.fakes.sendgrid.rates import RateLimits
from tests.fakes.sendgrid.segments import Segment, Segments
from tests.fakes.sendgrid.senders import Senders
from tests.fakes.sendgrid.shown import Shown
from tests.fakes.sendgrid.singlesends import SingleSend, SingleSends
from tests.fakes.sendgrid.suppressions import Suppressions
from tests.fakes.sendgrid.templates import Generation, Template, Templates
from tests.fakes.sendgrid.upserts import Upserts
from tests.fakes.server import Answer, Call, FakeServer

_HTML_414 = b"<html><head><title>414 Request-URI Too Large</title></head><body>nginx</body></html>"


class FakeSendGrid(FakeServer):
    """SendGrid's v3 API with one account behind it, as far as the facts tell how it behaves.

        async with FakeSendGrid() as fake:
            vip = fake.add_list("VIP")
            ...  # something that calls fake.url with fake.key
            assert fake.members(vip.id) == {"ada@example.com"}

    Attributes:
        key: an API key of full access.
        timing: how long things take,
        limits: how much fits,
        choices: and what SendGrid does where nothing says so. A test turns them.
        keys: API keys and their scopes.
        rates: rate limits, scriptable.
        files: behind pre-signed links.
        suppressions: who does not get mail, and groups.
        senders: domains, IP pools, tracking settings.
        mail: what has been sent.
        webhooks: Event Webhooks.
        subusers: accounts of their own that this one's keys may act for, by name.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(clock)
        self.timing = Timing()
        self.limits = Limits()
        self.choices = Choices()
        ids = Ids()
        self.keys = Keys()
        self.key = self.keys.add()
        self.rates = RateLimits(self.clock)
        self.files = Files(self.clock, ids)
        self._book = ContactBook(self.clock, self.timing)
        self._fields = Fields(self.clock, self.limits, self.timing, self._book)
        self._segments = Segments(self.clock, ids, self.limits, self._book, self._fields)
        shown = Shown(self._fields, self._segments.of)
        self._jobs = Jobs(self.clock, ids, self.files, self.timing, self.choices)
        self._lists = Lists(ids, self.limits, self.choices, self._book, self._jobs, shown)
        self._ids = ids
        self._exports = Exports(
            self.clock,
            ids,
            self.timing,
            self.limits,
            self.choices,
            self.files,
            self._fields,
            self._book,
            self._lists,
            self._segments,
        )
        self._singlesends = SingleSends(self.clock, ids)
        self._templates = Templates(self.clock, ids)
        self.suppressions = Suppressions(self.clock)
        self.senders = Senders()
        self.mail = MailSend(self.clock, ids, self._templates, self.suppressions, self.senders)
        self.webhooks = EventWebhooks(self.clock, ids, self.limits, self.choices)
        self.subusers: dict[str, FakeSendGrid] = {}
        areas = (
            self._exports,
            self._segments,
            self._singlesends,
            self._templates,
            self.suppressions,
            self.senders,
            self.mail,
            self.webhooks,
            self.keys,
            self.files,
            self._fields,
            self._jobs,
            self._lists,
            Contacts(self.limits, self._book, self._jobs, shown),
            Upserts(self.clock, ids, self.limits, self.choices, self._fields, self._lists, self._book, self._jobs),
        )
        self._router = _Router(route for area in areas for route in area.routes())

    @property
    def contacts(self) -> Mapping[str, Contact]:
        """As they are, by id; reads may show it later."""
        self.clock.settle()
        return self._book.actual.by_id

    @property
    def visible_contacts(self) -> Mapping[str, Contact]:
        """As reads show them by now, by id."""
        self.clock.settle()
        return self._book.visible.by_id

    @property
    def lists(self) -> Mapping[str, ContactList]:
        """By id."""
        return self._lists.all

    @property
    def fields(self) -> Mapping[str, CustomField]:
        """The custom ones, by id."""
        return self._fields.custom

    @property
    def jobs(self) -> Mapping[str, Job]:
        """By id, the oldest first."""
        self.clock.settle()
        return self._jobs.all

    @property
    def exports(self) -> Mapping[str, Export]:
        """By id, the oldest first."""
        self.clock.settle()
        return self._exports.all

    @property
    def segments(self) -> Mapping[str, Segment]:
        """By id."""
        return self._segments.all

    @property
    def singlesends(self) -> Mapping[str, SingleSend]:
        """By id."""
        return self._singlesends.all

    @property
    def templates(self) -> Mapping[str, Template]:
        """By id."""
        return self._templates.all

    def contact(self, email: str) -> Contact | None:
        """By address."""
        self.clock.settle()
        return self._book.actual.find("email", email.lower())

    def members(self, list_id: str) -> set[str]:
        """The addresses of who is on a list, given by id or by name."""
        self.clock.settle()
        one = self._lists.all.get(list_id) or self._lists.named(list_id)
        return {self._book.actual.by_id[each].email for each in self._book.actual.members(one.id)} if one else set()

    def custom(self, contact: Contact) -> Mapping[str, Json]:
        """The custom values of a contact, by field name."""
        return self._fields.by_name(contact)

    def add_key(self, scopes: Iterable[str] = FULL_ACCESS, *, read_only: bool = False) -> str:
        """Another key."""
        return self.keys.add(scopes, read_only=read_only)

    def add_subuser(self, name: str) -> "FakeSendGrid":
        """An account below this one, reached through it alone."""
        self.subusers[name] = FakeSendGrid(self.clock)
        return self.subusers[name]

    def add_list(self, name: str) -> ContactList:
        """A list that is there already."""
        return self._lists.add(name)

    def add_field(self, name: str, field_type: FieldType = "Text") -> CustomField:
        """A custom field that is there already, usable."""
        return self._fields.add(name, field_type)

    def add_contact(
        self,
        email: str = "",
        *,
        lists: Iterable[str] = (),
        custom: Mapping[str, str | float] | None = None,
        **fields: Json,
    ) -> Contact:
        """A contact that is there already and seen by reads.

        Args:
            email: its address.
            lists: ids of the lists it is on.
            custom: custom values, by field id.
            fields: identifiers and the other texts, by name.
        """
        if email:
            fields["email"] = email
        now = self.clock.now()
        contact = Contact(self._ids.uuid(), fields, dict(custom or {}), frozenset(lists), now, now)
        self._book.actual.put(contact)
        self._book.visible.put(contact)
        return contact

    def plan_job(self, seconds: float | None = None, *, fails: bool = False) -> None:
        """What becomes of the next job that has no plan yet: how long it takes, whether it fails as a whole."""
        self._jobs.plans.append(Plan(seconds, fails))

    def plan_export(self, seconds: float | None = None, *, failure: str = "") -> None:
        """What becomes of the next export that has no plan yet: how long it takes, why it fails."""
        self._exports.plans.append(ExportPlan(seconds, failure))

    def add_segment(
        self, name: str, query_dsl: str = "", *, lists: Iterable[str] = (), members: Iterable[Contact] = ()
    ) -> Segment:
        """A segment that is there already, with these contacts in it."""
        query = query_dsl or "SELECT contact_id, updated_at FROM contact_data"
        return self._segments.add(name, query, list(lists), {each.id for each in members})

    def add_singlesend(self, name: str) -> SingleSend:
        """A draft that is there already."""
        return self._singlesends.add(name)

    def add_template(
        self,
        name: str,
        html: str = "",
        *,
        subject: str = "",
        plain: str = "",
        active: bool = True,
        generation: Generation = "dynamic",
    ) -> Template:
        """A template that is there already, with one version."""
        template = self._templates.add(name, generation)
        self._templates.add_version(template, subject, html, plain, active=active)
        return template

    async def close(self) -> None:
        """Test events that are on their way still arrive."""
        for account in (self, *self.subusers.values()):
            await account.webhooks.settled()

    def _acting_for(self, call: Call) -> "FakeSendGrid":
        """Whose account a call is about. Marketing does not know the header, sending mail ignores it (facts 4)."""
        name = call.headers.get("on-behalf-of", "")
        if not name or call.path.startswith(("/v3/marketing/", "/v3/mail/send")):
            return self
        if name not in self.subusers:
            raise Refusal(403, (None, "access forbidden"))
        return self.subusers[name]

    async def answer(self, call: Call) -> Answer:
        """In the order of the real thing: nginx, the route, the key, the rate limit, the handler."""
        self.clock.settle()
        if len(call.target) > self.limits.url and not call.path.startswith("/storage/"):
            return Answer(414, _HTML_414, {"Content-Type": "text/html"})
        headers: dict[str, str] = {}
        try:
            route, request = self._acting_for(call)._router.find(call)
            self.keys.check(route, call)
            if route.has_rate_limit or self.rates.has_rule(call.method, call.path):
                window = self.rates.count(call.method, call.path, route.path)
                headers = window.headers()
                self.rates.check(window)
            answer = route.handler(request)
            if isawaitable(answer):
                answer = await answer
        except Refusal as refusal:
            return Answer(refusal.status, refusal.body, headers)
        return Answer(answer.status, answer.body, headers | dict(answer.headers))


class _Router:
    """Finds the route of a call; a literal path comes before one that varies."""

    def __init__(self, routes: Iterable[Route]) -> None:
        ordered = sorted(routes, key=lambda route: route.path.count("{"))
        self._routes = [(re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", route.path)), route) for route in ordered]

    def find(self, call: Call) -> tuple[Route, Request]:
        found = [(match, route) for pattern, route in self._routes if (match := pattern.fullmatch(call.path))]
        for match, route in found:
            if route.method == call.method:
                return route, Request(call, match.groupdict())
        if found:
            raise Refusal(405, (None, "method not allowed"))
        raise Refusal(404, (None, "not found"))
