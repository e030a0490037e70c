"""Setting up SendGrid's Event Webhook: from an account that knows nothing of us to its events in the tables."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from yarl import URL

from connectors.clickhouse import ClickHouse
from connectors.errors import Fatal
from connectors.kafka import Producer, Record
from connectors.kafka_table import KafkaTable
from connectors.sendgrid_webhooks import EVENTS, SendGridWebhooks, Webhook, Webhooks
from schemas import topics
from schemas.ddl import identifier
from schemas.events import EVENTS as EVENT_TYPES
from schemas.verification_keys import RegisteredWebhook
from streams.schema import ensure_topics
from streams.sections import Relay, Source
from streams.settings import Settings
from streams.verification_keys import registered

TEST_SECONDS = 60.0
"""How long the events of SendGrid's test are waited for, unless it is said otherwise."""

_TEST_EMAIL = "example@test.com"
"""Whose the events of SendGrid's test are: seen in each that was published."""
_POST_AGAIN_SECONDS = 10.0
"""SendGrid posts a test once. An ingress may not have known the key yet."""
_LOOK_SECONDS = 0.2

Seen = Mapping[str, object]
"""By type of event how many events of SendGrid's tests there are, and when the last of them came."""


class Registration:
    """What is done about the Event Webhook of one source.

    Args:
        settings: read.
        source: whose webhook.
        api: open.
        clickhouse: connected.
        say: told of each step.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        api: SendGridWebhooks,
        clickhouse: ClickHouse,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._source = source
        self._api = api
        self._clickhouse = clickhouse
        self._say = say

    async def register(self, url: str, replace: str, seconds: float) -> None:
        """Have SendGrid post everything, signed, to a URL, and see its test's events arrive. Twice changes nothing.

        Args:
            url: of this source's webhook, as SendGrid reaches it; without user name and password.
            replace: the id of a webhook that is to post here instead; its old URL must be a relay's. Empty: none.
            seconds: how long the test's events are waited for.

        Raises:
            Retry, Reject, Fatal: SendGrid, Kafka or ClickHouse would not, or the events did not come.
        """
        target = self._target(url)
        webhook_id = await self._set_up(url, target, replace)
        public_key = (await self._api.webhook(webhook_id)).public_key
        if not public_key:
            public_key = await self._api.sign(webhook_id)
            self._say("it signs what it posts from now on")
        await self._remember(webhook_id, url, public_key)
        await self._test({webhook_id: target}, seconds)

    async def test(self, seconds: float) -> None:
        """Have SendGrid post its test events to the registered webhooks, and see them arrive.

        Raises:
            Retry, Reject, Fatal: as register.
        """
        found = await ours(self._settings, self._source, (await self._api.webhooks()).all)
        if not found:
            raise Fatal(
                f"no Event Webhook of this account posts to the source {self._source.name} with a key that is known "
                "here; run: gridstream webhook register URL"
            )
        await self._test({each.id: each.url for each in found}, seconds)

    def _target(self, url: str) -> str:
        """A URL with the source's user name and password, which never stand on a command line."""
        parsed = _parsed(url)
        if parsed is None:
            raise Fatal(f"found {url!r}, expected the URL that SendGrid is to post to: https://host/sendgrid")
        if parsed.user or parsed.password:
            raise Fatal(
                "leave user name and password out of the URL: everybody on this machine sees a command's arguments. "
                "They are taken from the source's username and password"
            )
        name = parsed.name
        if name != self._source.name and name in {source.name for source in self._settings.sources}:
            raise Fatal(f"{url} is the URL of another source; add: --source {name}")
        if not self._source.password:
            return url
        password = self._source.password[0].get_secret_value()
        return str(parsed.with_user(self._source.username).with_password(password))

    async def _set_up(self, url: str, target: str, replace: str) -> str:
        webhooks = await self._api.webhooks()
        found = next((each for each in webhooks.all if each.url == target), None)
        found = found or next((each for each in webhooks.all if shown(each.url) == shown(url)), None)
        if found is None and replace:
            found = self._replaceable(webhooks, replace)
        if found is None:
            if webhooks.most and len(webhooks.all) >= webhooks.most:
                raise Fatal(self._full(webhooks))
            webhook_id = await self._api.create(target, f"gridstream {self._source.name}")
            self._say(f"made the webhook {webhook_id}")
        else:
            webhook_id = found.id
        now = await self._api.webhook(webhook_id)
        if now.url != target or not now.is_enabled or now.off:
            await self._api.change(webhook_id, target)
            self._say(f"the webhook {webhook_id} posts all events to {url} from now on")
        else:
            self._say(f"the webhook {webhook_id} posts all events to {url}")
        return webhook_id

    def _replaceable(self, webhooks: Webhooks, webhook_id: str) -> Webhook:
        found = next((each for each in webhooks.all if each.id == webhook_id), None)
        if found is None:
            raise Fatal(f"there is no Event Webhook {webhook_id}; `gridstream webhook show` lists them")
        if not any(self._serves(relay, found.url) for relay in self._settings.relays):
            raise Fatal(
                f"{shown(found.url)} would get nothing any more. Add it as a relay of the source {self._source.name}, "
                f"start `gridstream worker relay`, and run this again. {_offer(self._source, found)}"
            )
        return found

    def _serves(self, relay: Relay, url: str) -> bool:
        source = self._settings.source(relay.source)
        return source.name == self._source.name and shown(relay.url.get_secret_value()) == shown(url)

    def _full(self, webhooks: Webhooks) -> str:
        taken = "\n".join(f"  {each.id}  {shown(each.url)}  {each.name}".rstrip() for each in webhooks.all)
        one = webhooks.all[0]
        return (
            f"the account's plan allows {webhooks.most} Event Webhook(s), and there are so many:\n{taken}\n"
            "Delete one in SendGrid, Settings > Mail Settings > Event Webhooks. Or let gridstream have it and pass on "
            f"what comes, byte for byte and signed as now: {_offer(self._source, one)}, start `gridstream worker "
            f"relay`, and add: --replace {one.id}"
        )

    async def _remember(self, webhook_id: str, url: str, public_key: str) -> None:
        await ensure_topics(self._settings)
        async with KafkaTable(self._settings.kafka.cluster, topics.VERIFICATION_KEYS) as table:
            known = {(each.source, each.id): each for each in registered(table)}
        before = known.get((self._source.name, webhook_id))
        now = (before or RegisteredWebhook(self._source.name, webhook_id, url, ())).renewed(url, public_key)
        if now == before:
            self._say("its key is known to every ingress")
            return
        async with Producer(self._settings.kafka.cluster) as producer:
            await producer.publish(topics.VERIFICATION_KEYS, Record(now.key, now.line()))
        self._say("its key is known to every ingress from now on, beside those of the settings")

    async def _test(self, webhooks: Mapping[str, str], seconds: float) -> None:
        for webhook_id, url in webhooks.items():
            before = await self._seen()
            self._say(f"SendGrid posts its test to {shown(url)} …")
            came = await self._arrived(webhook_id, url, before, seconds)
            if not came:
                raise Fatal(self._nothing_came(url, seconds))
            missing = [name for name in _NAMES.values() if name not in came]
            less = f", all but {', '.join(missing)}" if missing else ""
            self._say(f"its events are in the tables of {self._source.name}: {len(came)} types{less}")

    async def _arrived(self, webhook_id: str, url: str, before: Seen, seconds: float) -> list[str]:
        """The types of events that came in time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        post_at = began
        came: list[str] = []
        while len(came) < len(_NAMES) and loop.time() < began + seconds:
            if not came and loop.time() >= post_at:
                await self._api.post_test(webhook_id, url)
                post_at = loop.time() + _POST_AGAIN_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            now = await self._seen()
            came = [name for name in _NAMES.values() if now.get(name) != before.get(name)]
        return came

    async def _seen(self) -> Seen:
        sql = (
            f"SELECT event, count(), max(received_at) FROM {identifier(self._source.name)}.activity "
            "WHERE email = {email:String} GROUP BY event"
        )
        rows = (await self._clickhouse.query(sql, {"email": _TEST_EMAIL})).result_rows
        return {event: tuple(of_event) for event, *of_event in rows}

    def _nothing_came(self, url: str, seconds: float) -> str:
        hint = (
            "SendGrid's test was seen to leave out the user name and password of a URL, and is then refused with 401: "
            "look for the first real events"
            if self._source.password
            else f"is {shown(url)} reachable from outside, over TLS? And: gridstream doctor"
        )
        return f"SendGrid posted its test, and after {seconds:.0f} s none of its events is in the tables. {hint}"


_NAMES = {toggle: {"spam_report": "spamreport"}.get(toggle, toggle) for toggle in EVENTS}
"""The types in SendGrid's test, as in its settings and as on the wire."""
assert set(_NAMES.values()) <= {event.name for event in EVENT_TYPES}


async def ours(settings: Settings, source: Source, webhooks: Iterable[Webhook]) -> list[Webhook]:
    """Those of an account's webhooks whose POSTs a source's ingress takes for signed.

    Raises:
        Retry, Fatal: Kafka would not say.
    """
    keys = set(source.public_keys)
    await ensure_topics(settings)
    async with KafkaTable(settings.kafka.cluster, topics.VERIFICATION_KEYS) as table:
        keys |= {key for each in registered(table) if each.source == source.name for key in each.public_keys}
    return [each for each in webhooks if each.public_key in keys]


def shown(url: str) -> str:
    """A URL for people, and to be compared: without user name and password."""
    parsed = _parsed(url)
    return url if parsed is None else str(parsed.with_user(None))


def _parsed(url: str) -> URL | None:
    try:
        parsed = URL(url)
    except ValueError:
        return None
    return parsed if parsed.scheme in ("http", "https") and parsed.host else None


def _offer(source: Source, webhook: Webhook) -> str:
    return f'[[relays]] with source = "{source.name}" and url = "{shown(webhook.url)}"'
