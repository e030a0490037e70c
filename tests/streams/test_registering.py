"""`gridstream webhook`: from a bare account to rows in the tables, with real Kafka, engine and ingress."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from connectors.event_webhook import Signer
from connectors.kafka_table import KafkaTable
from connectors.sendgrid_webhooks import EVENTS
from schemas import topics
from schemas.verification_keys import RegisteredWebhook
from streams.datafolder import DataFolder
from streams.registering import shown
from streams.settings import Settings
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.sendgrid.event_webhook import TOGGLES
from tests.pipeline import Pipeline, running
from tests.samples import sample


@pytest.fixture
async def fake() -> AsyncIterator[FakeSendGrid]:
    async with FakeSendGrid() as fake:
        yield fake


@pytest.fixture(scope="module")
async def bare(
    servers: Settings, data: DataFolder, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pipeline]:
    """A pipeline whose only source has no credentials yet; each test gives it an account of its own."""
    async with running(servers, data, "registering", tmp_path_factory.mktemp("registering")) as pipeline:
        yield pipeline


async def webhook(
    pipeline: Pipeline, fake: FakeSendGrid, *arguments: str, relay: str = "", command: str = "webhook", **of_source: Any
) -> tuple[int, str, str]:
    """Run `gridstream webhook` with the source's key of an account: exit code, output, errors."""
    source = {"name": pipeline.source, "api_key": fake.key, "api_url": fake.url, **of_source}
    relays = [{"source": pipeline.source, "url": relay}] if relay else []
    variables = {"GRIDSTREAM_SOURCES": json.dumps([source]), "GRIDSTREAM_RELAYS": json.dumps(relays)}
    return await pipeline.command(command, *arguments, **variables)


async def test_one_command_leads_from_a_bare_account_to_rows_and_a_second_changes_nothing(
    fake: FakeSendGrid, bare: Pipeline
) -> None:
    code, output, errors = await webhook(bare, fake, "register", bare.url)

    assert code == 0, errors
    assert output.endswith(f"its events are in the tables of {bare.source}: {len(EVENTS)} types\n")
    (made,) = fake.webhooks.all.values()
    assert (made.url, made.enabled, made.account_status_change) == (bare.url, True, True)
    assert made.events == dict.fromkeys(TOGGLES, True)
    assert {row["event"] for row in await bare.rows("activity", "DISTINCT event")} == {
        "spamreport" if name == "spam_report" else name for name in EVENTS
    }
    assert await bare.post(b"[]") == 401
    before, changes = repr(made), writes(fake)

    code, output, errors = await webhook(bare, fake, "register", bare.url)

    assert code == 0, errors
    assert repr(made) == before
    assert writes(fake) == changes
    assert "its key is known to every ingress\n" in output
    code, output, errors = await webhook(bare, fake, "show")
    assert code == 0, errors
    assert output.startswith(f"{bare.source}: 1 Event Webhooks of 5 that its plan allows\n")
    assert output.split()[-4:] == [bare.source, "yes", "yes", "yes"]
    fake.senders.tracking["click"] = fake.senders.tracking["subscription"] = False
    code, output, _ = await webhook(bare, fake, command="doctor")
    assert code == 1
    assert f"source {bare.source}: asks for a signature" in output
    assert "click, subscription tracking is off: click, unsubscribe will never come" in output


async def test_a_key_that_sendgrid_changed_is_taken_beside_the_one_before(
    fake: FakeSendGrid, bare: Pipeline, servers: Settings
) -> None:
    assert (await webhook(bare, fake, "register", bare.url))[0] == 0
    (made,) = fake.webhooks.all.values()
    old = made.signer
    assert old
    assert (await webhook(bare, fake, "test"))[0] == 0
    made.signer = Signer.generate()
    assert (await webhook(bare, fake, "test"))[0] == 1
    assert (await webhook(bare, fake, "register", bare.url))[0] == 0

    body = sample("click")
    for signer in (old, made.signer):
        assert await bare.post(body, **signer.headers("1790000000", body)) == 200
    stranger = Signer.generate()
    assert await bare.post(body, **stranger.headers("1790000000", body)) == 401
    async with KafkaTable(servers.kafka.cluster, topics.VERIFICATION_KEYS) as table:
        key = f"{bare.source}:{made.id}".encode()
        kept = RegisteredWebhook.of_record(key, table.values[key])
    assert kept.public_keys == (made.public_key, old.public_key)


async def test_a_full_plan_says_whose_url_is_in_the_way_and_offers_a_relay(fake: FakeSendGrid, bare: Pipeline) -> None:
    fake.limits.webhooks = 1
    theirs = fake.webhooks.add("https://user:recognisable@other.example.com/events")
    code, _, errors = await webhook(bare, fake, "register", bare.url)
    assert code == 1
    assert "the account's plan allows 1 Event Webhook(s)" in errors
    assert f"{theirs.id}  https://other.example.com/events" in errors
    assert f'[[relays]] with source = "{bare.source}" and url = "https://other.example.com/events"' in errors
    assert f"--replace {theirs.id}" in errors

    code, _, errors = await webhook(bare, fake, "register", bare.url, "--replace", theirs.id)
    assert (code, "would get nothing any more" in errors) == (1, True)
    code, output, _ = await webhook(bare, fake, "show")
    assert "recognisable" not in errors + output
    code, _, errors = await webhook(bare, fake, "register", bare.url, "--replace", theirs.id, relay=theirs.url)

    assert code == 0, errors
    assert theirs.url == bare.url


async def test_what_is_wrong_is_said(fake: FakeSendGrid, bare: Pipeline) -> None:
    narrow = fake.add_key(["user.webhooks.event.settings.read"])
    for arguments, words in (
        (["register", "nonsense"], "expected the URL that SendGrid is to post to"),
        (["register", bare.url], "user.webhooks.event.test.create"),
        (["register", bare.url, "--replace", "gone"], "there is no Event Webhook gone"),
        (["test"], "run: gridstream webhook register URL"),
        (["show", "--source", "nobody"], f"there is no source nobody; configured: {bare.source}"),
    ):
        code, _, errors = await webhook(bare, fake, *arguments, api_key=narrow)
        assert (code, words in errors) == (1, True), errors
    code, _, errors = await webhook(bare, fake, "show", api_key="")
    assert (code, "sources.api_key is not set" in errors) == (1, True)


async def test_a_parents_key_registers_the_webhook_of_a_subuser(fake: FakeSendGrid, bare: Pipeline) -> None:
    subuser = fake.add_subuser("europe")
    code, _, errors = await webhook(bare, fake, "register", bare.url, on_behalf_of="europe")

    assert code == 0, errors
    assert [each.url for each in subuser.webhooks.all.values()] == [bare.url]
    assert not fake.webhooks.all


async def test_keys_of_the_settings_and_registered_ones_are_valid_at_once_also_after_a_restart(
    fake: FakeSendGrid, servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    configured = Signer.generate()
    async with running(servers, data, source, tmp_path, public_keys=[configured.public_key]) as pipeline:
        assert (await webhook(pipeline, fake, "register", pipeline.url))[0] == 0
        (made,) = fake.webhooks.all.values()
        assert made.signer
        await pipeline.supervisor.stop("ingress")
        await pipeline.supervisor.start(pipeline.ingress())

        for signer in (configured, made.signer):
            assert await pipeline.post(b"[]", **signer.headers("1790000000", b"[]")) == 200
        assert await pipeline.post(b"[]") == 401


async def test_a_password_goes_into_the_url_in_sendgrid_and_never_onto_the_command_line(
    fake: FakeSendGrid, servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    credentials: Any = {"username": "user", "password": ["n/ew", "old"]}
    async with running(servers, data, source, tmp_path, **credentials) as pipeline:
        named = pipeline.url.replace("http://", "http://user:old@")
        code, _, errors = await webhook(pipeline, fake, "register", named, **credentials)
        assert code == 1
        assert "leave user name and password out of the URL" in errors
        theirs = fake.webhooks.add(named)

        code, output, errors = await webhook(pipeline, fake, "register", pipeline.url, "--wait", "0.1", **credentials)

        assert code == 1
        assert "SendGrid's test was seen to leave out the user name and password" in errors
        assert "Traceback" not in errors
        assert list(fake.webhooks.all.values()) == [theirs]
        assert theirs.url == pipeline.url.replace("http://", "http://user:n%2Few@")
        assert "ew@" not in output + errors
        fake.choices.tests_carry_password = True
        assert (await webhook(pipeline, fake, "test", **credentials))[0] == 0


def writes(fake: FakeSendGrid) -> int:
    """How many calls have changed something; a test does not."""
    return sum(call.method != "GET" and not call.path.endswith("/test") for call in fake.calls)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:p@Example.com:443/sendgrid", "https://example.com/sendgrid"),
        ("https://example.com/a?b=c", "https://example.com/a?b=c"),
        ("no url", "no url"),
    ],
)
def test_urls_are_shown_without_credentials(url: str, expected: str) -> None:
    assert shown(url) == expected


class TestRegisteredWebhook:
    def test_it_survives_the_way_through_a_record(self) -> None:
        webhook = RegisteredWebhook("eu", "a:b", "https://example.com", ("k2", "k1"))

        assert RegisteredWebhook.of_record(webhook.key, webhook.line()) == webhook

    @pytest.mark.parametrize("value", [b"no json", b"[]", b"{}", b'{"url": "u", "public_keys": 5}'])
    def test_anything_else_is_none(self, value: bytes) -> None:
        with pytest.raises(ValueError, match=r".+"):
            RegisteredWebhook.of_record(b"eu:a", value)

    def test_the_newest_key_comes_first_and_two_are_kept(self) -> None:
        webhook = RegisteredWebhook("eu", "a", "u", ())
        for key in ("k1", "k2", "k2", "k3", "k2"):
            webhook = webhook.renewed("v", key)

        assert (webhook.url, webhook.public_keys) == ("v", ("k2", "k3"))
