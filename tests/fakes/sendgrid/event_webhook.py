"""Settings of the Event Webhook, and its posts (facts 5; fact sheet of the Event Webhook, 4, 6 and 8)."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import aiohttp
import orjson
from yarl import URL

from connectors.event_webhook import Signer
from tests.fakes.clock import Clock, iso
from tests.fakes.sendgrid.api import Ids, Json, Refusal, Request, Route, invalid, not_found, text
from tests.fakes.sendgrid.behaviour import Choices, Limits
from tests.fakes.server import Answer
from tests.samples import VECTORS

TOGGLES = (
    "processed",
    "delivered",
    "deferred",
    "bounce",
    "dropped",
    "open",
    "click",
    "spam_report",
    "unsubscribe",
    "group_unsubscribe",
    "group_resubscribe",
)
_EVENT_OF = {"spam_report": "spamreport"}
_OAUTH = ("oauth_client_id", "oauth_token_url")
_PATH = "/v3/user/webhooks/event"


@dataclass(slots=True)
class Webhook:
    """One webhook.

    Attributes:
        id: SendGrid's.
        url: used by no other webhook of the account.
        created_at: seconds since 1970; None for one from the time when there was only one,
        updated_at: as well.
        enabled: disabled ones count for the plan too.
        friendly_name: need not be unique.
        events: which toggles are on.
        account_status_change: a toggle that is shown only when asked for.
        oauth: client id and token URL; the secret is never shown.
        signer: while posts are signed.
    """

    id: str
    url: str
    created_at: float | None
    updated_at: float | None
    enabled: bool = True
    friendly_name: str = ""
    events: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(TOGGLES, False))
    account_status_change: bool = False
    oauth: dict[str, str] = field(default_factory=dict)
    signer: Signer | None = None

    @property
    def public_key(self) -> str:
        """Empty while it does not sign."""
        return self.signer.public_key if self.signer else ""


@dataclass(frozen=True, slots=True)
class Post:
    """One POST that a webhook made.

    Attributes:
        url: where to.
        body: byte for byte.
        status: of the answer; None where there was none.
    """

    url: str
    body: bytes
    status: int | None


class EventWebhooks:
    """The webhooks of an account.

    Attributes:
        all: by id, the oldest first.
        posts: all that they made so far.
    """

    def __init__(self, clock: Clock, ids: Ids, limits: Limits, choices: Choices) -> None:
        self.all: dict[str, Webhook] = {}
        self.posts: list[Post] = []
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._choices = choices
        self._random = Random(0)
        self._under_way: set[asyncio.Task[Post]] = set()

    def add(self, url: str) -> Webhook:
        """A new webhook, with all types off and unsigned."""
        now = self._clock.now()
        new = Webhook(self._ids.uuid(), url, now, now)
        self.all[new.id] = new
        return new

    async def deliver(self, events: Sequence[Mapping[str, Json]]) -> list[Post]:
        """Post events to each enabled webhook that wants any of them, once: without SendGrid's repeats."""
        posts = []
        for webhook in self.all.values():
            wanted = {_EVENT_OF.get(name, name) for name, is_on in webhook.events.items() if is_on}
            chosen = [each for each in events if each["event"] in wanted]
            if webhook.enabled and chosen:
                body = b"[" + b",\r\n".join(orjson.dumps(each) for each in chosen) + b"]\r\n"
                posts.append(await self._post(webhook.url, body, webhook.signer))
        return posts

    async def settled(self) -> None:
        """Wait until all test events have been posted."""
        await asyncio.gather(*self._under_way)

    def routes(self) -> Iterator[Route]:
        """Without an id, GET and PATCH act on the oldest webhook."""
        path, scope = _PATH + "/settings", "user.webhooks.event.settings."
        yield Route("POST", path, self._create, scope + "create")
        yield Route("GET", path, self._get, scope + "read")
        yield Route("PATCH", path, self._change, scope + "update")
        yield Route("GET", path + "/all", self._list, scope + "read")
        yield Route("GET", path + "/signed", self._get_key, scope + "read")
        yield Route("PATCH", path + "/signed", self._sign, scope + "update")
        yield Route("GET", path + "/signed/{id}", self._get_key, scope + "read")
        yield Route("PATCH", path + "/signed/{id}", self._sign, scope + "update")
        yield Route("GET", path + "/{id}", self._get, scope + "read")
        yield Route("PATCH", path + "/{id}", self._change, scope + "update")
        yield Route("DELETE", path + "/{id}", self._delete, scope + "delete")
        yield Route("POST", _PATH + "/test", self._test, "user.webhooks.event.test.create")

    def _create(self, request: Request) -> Answer:
        """Signing cannot be set here. No two webhooks have one URL; the 400 says whose it is."""
        body = request.json()
        url = self._url(body)
        if len(self.all) >= self._limits.webhooks:
            raise invalid(None, f"you have reached the maximum of {self._limits.webhooks} webhooks of your plan")
        new = self.add(url)
        _fill(new, body)
        return Answer(201, _json(new))

    def _list(self, _: Request) -> Answer:
        """None at all may come back as one empty object."""
        shown = [_json(each) for each in self.all.values()]
        return Answer(body={"max_allowed": self._limits.webhooks, "webhooks": shown or [{}]})

    def _get(self, request: Request) -> Answer:
        one = self._one(request)
        body = _json(one)
        if request.query.get("include") == "account_status_change":
            body["account_status_change"] = one.account_status_change
        return Answer(body=body)

    def _change(self, request: Request) -> Answer:
        one, body = self._one(request), request.json()
        one.url = self._url(body, one)
        _fill(one, body)
        one.updated_at = self._clock.now()
        return Answer(200, _json(one))

    def _delete(self, request: Request) -> Answer:
        del self.all[self._one(request).id]
        return Answer(204)

    def _get_key(self, request: Request) -> Answer:
        one = self._one(request)
        return Answer(body={"id": one.id, "public_key": one.public_key})

    def _sign(self, request: Request) -> Answer:
        """Switching it off destroys the key pair; the key is then empty."""
        one, is_on = self._one(request), request.json().get("enabled")
        if not isinstance(is_on, bool):
            raise invalid("enabled", "enabled must be a boolean")
        if not is_on:
            one.signer = None
        elif one.signer is None:
            one.signer = Signer.generate()
        return self._get_key(request)

    def _test(self, request: Request) -> Answer:
        """204, and fake events to the URL, signed where the id is that of a webhook that signs; never repeated."""
        body = request.json()
        url = _valid_url(body)
        webhook_id = body.get("id")
        if webhook_id and webhook_id not in self.all:
            raise not_found("webhook not found")
        signer = self.all[webhook_id].signer if webhook_id else None
        target = url if self._choices.tests_carry_password else str(URL(url).with_user(None))
        post = asyncio.create_task(self._post(target, self._test_body(), signer))
        self._under_way.add(post)
        post.add_done_callback(self._under_way.discard)
        return Answer(204)

    def _test_body(self) -> bytes:
        """As the live API's test posts it: one event of each type, `<` and `>` escaped, now."""
        live = next(vector for vector in VECTORS if vector.name == "c")
        lines = []
        for event in orjson.loads(live.body):
            event |= {
                "timestamp": int(self._clock.now()),
                "sg_event_id": self._random.randbytes(16).hex()[:22] + "==",
            }
            lines.append(orjson.dumps(event).replace(b"<", b"\\u003c").replace(b">", b"\\u003e"))
        return b"[" + b",\r\n".join(lines) + b"]\r\n"

    async def _post(self, url: str, body: bytes, signer: Signer | None) -> Post:
        headers = {"Content-Type": "application/json;charset=utf-8", "User-Agent": "SendGrid Event API"}
        if signer:
            headers |= signer.headers(str(int(self._clock.now())), body)
        status = None
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError):
            pass
        post = Post(url, body, status)
        self.posts.append(post)
        return post

    def _one(self, request: Request) -> Webhook:
        webhook_id = request.params.get("id") or next(iter(self.all), "")
        if webhook_id not in self.all:
            raise not_found("webhook not found")
        return self.all[webhook_id]

    def _url(self, body: Mapping[str, Json], own: Webhook | None = None) -> str:
        url = _valid_url(body)
        for each in self.all.values():
            if each.url == url and each is not own:
                refusal = Refusal(400, ("url", "the url is already used by another webhook"))
                refusal.body |= {"id": each.id, "url": each.url}
                raise refusal
        return url


def _valid_url(body: Mapping[str, Json]) -> str:
    url = text(body, "url", 2000)
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise invalid("url", "url must be a valid URL")
    return url


def _fill(one: Webhook, body: Mapping[str, Json]) -> None:
    one.enabled = body.get("enabled", one.enabled)
    one.friendly_name = body.get("friendly_name", one.friendly_name)
    one.account_status_change = body.get("account_status_change", one.account_status_change)
    one.events |= {name: body[name] for name in TOGGLES if name in body}
    one.oauth |= {name: body[name] for name in _OAUTH if name in body}


def _json(one: Webhook) -> dict[str, Json]:
    body: dict[str, Json] = {
        "id": one.id,
        "url": one.url,
        "enabled": one.enabled,
        "friendly_name": one.friendly_name,
        **one.events,
        **{name: one.oauth.get(name, "") for name in _OAUTH},
        "created_date": None if one.created_at is None else iso(one.created_at),
        "updated_date": None if one.updated_at is None else iso(one.updated_at),
    }
    return body | {"public_key": one.public_key} if one.signer else body
