"""`gridstream webhook`: from a bare account to rows in the tables, with real Kafka, engine and ingress."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

Running = Any


@pytest.fixture
async def fake() -> AsyncIterator[FakeSendGrid]:
    async with FakeSendGrid() as fake:
        yield fake


@pytest.fixture
def started(servers: Settings, data: DataFolder, source: str, tmp_path: Path, fake: FakeSendGrid) -> Running:
    """A pipeline of one source, which has a key of the fake's account."""

    @asynccontextmanager
    async def run(**of_source: Any) -> AsyncIterator[Pipeline]:
        environment = of_source.pop("environment", {})
        about = {"api_key": fake.key, "api_url": fake.url, **of_source}
        async with running(servers, data, source, tmp_path, environment=environment, **about) as pipeline:
            yield pipeline

    return run


async def test_one_command_leads_from_a_bare_account_to_rows_and_a_second_changes_nothing(
    fake: FakeSendGrid, started: Running, source: str
) -> None:
    async with started() as pipeline:
        code, output, errors = await pipeline.command("webhook", "register", pipeline.url)

        assert code == 0, errors
        assert output.endswith(f"its events are in the tables of {source}: {len(EVENTS)} types\n")
        (webhook,) = fake.webhooks.all.values()
        assert (webhook.url, webhook.enabled, webhook.account_status_change) == (pipeline.url, True, True)
        assert webhook.events == dict.fromkeys(TOGGLES, True)
        assert {row["event"] for row in await pipeline.rows("activity", "DISTINCT event")} == {
            "spamreport" if name == "spam_report" else name for name in EVENTS
        }
        assert await pipeline.post(b"[]") == 401
        before, changes = repr(webhook), writes(fake)

        code, output, errors = await pipeline.command("webhook", "register", pipeline.url)

        assert code == 0, errors
        assert repr(webhook) == before
        assert writes(fake) == changes
        assert "its key is known to every ingress\n" in output
        code, output, errors = await pipeline.command("webhook", "show")
        assert code == 0, errors
        assert output.startswith(f"{source}: 1 Event Webhooks of 5 that its plan allows\n")
        assert output.split()[-4:] == [source, "yes", "yes", "yes"]
        assert (await pipeline.command("webhook", "test"))[0] == 0
        code, output, _ = await pipeline.command("doctor")
        assert f"source {source}: asks for a signature" in output


async def test_a_key_that_sendgrid_changed_is_taken_beside_the_one_before(
    fake: FakeSendGrid, started: Running, servers: Settings
) -> None:
    async with started() as pipeline:
        assert (await pipeline.command("webhook", "register", pipeline.url))[0] == 0
        (webhook,) = fake.webhooks.all.values()
        old = webhook.signer
        webhook.signer = Signer.generate()
        assert (await pipeline.command("webhook", "test", "--wait", "1"))[0] == 1
        assert (await pipeline.command("webhook", "register", pipeline.url))[0] == 0

        assert old
        body = sample("click")
        for signer in (old, webhook.signer):
            assert await pipeline.post(body, **signer.headers("1790000000", body)) == 200
        stranger = Signer.generate()
        assert await pipeline.post(body, **stranger.headers("1790000000", body)) == 401
    async with KafkaTable(servers.kafka.servers, topics.VERIFICATION_KEYS) as table:
        key = f"{pipeline.source}:{webhook.id}".encode()
        kept = RegisteredWebhook.of_record(key, table.values[key])
    assert kept.public_keys == (webhook.public_key, old.public_key)


async def test_keys_of_the_settings_and_registered_ones_are_valid_at_once_also_after_a_restart(
    fake: FakeSendGrid, started: Running
) -> None:
    configured = Signer.generate()
    async with started(public_keys=[configured.public_key]) as pipeline:
        assert (await pipeline.command("webhook", "register", pipeline.url))[0] == 0
        (webhook,) = fake.webhooks.all.values()
        assert webhook.signer
        await pipeline.supervisor.stop("ingress")
        await pipeline.supervisor.start(pipeline.ingress())

        for signer in (configured, webhook.signer):
            assert await pipeline.post(b"[]", **signer.headers("1790000000", b"[]")) == 200
        assert await pipeline.post(b"[]") == 401


async def test_a_full_plan_says_whose_url_is_in_the_way_and_offers_a_relay(
    fake: FakeSendGrid, started: Running, source: str
) -> None:
    fake.limits.webhooks = 1
    theirs = fake.webhooks.add("https://user:recognisable@other.example.com/events")
    relays = {"GRIDSTREAM_RELAYS": json.dumps([{"source": source, "url": theirs.url}])}
    async with started() as pipeline:
        code, _, errors = await pipeline.command("webhook", "register", pipeline.url)
        assert code == 1
        assert "the account's plan allows 1 Event Webhook(s)" in errors
        assert f"{theirs.id}  https://other.example.com/events" in errors
        assert f'[[relays]] with source = "{source}" and url = "https://other.example.com/events"' in errors
        assert f"--replace {theirs.id}" in errors

        code, _, errors = await pipeline.command("webhook", "register", pipeline.url, "--replace", theirs.id)
        assert (code, "would get nothing any more" in errors) == (1, True)
        code, output, _ = await pipeline.command("webhook", "show")
        assert "recognisable" not in errors + output
        assert theirs.url.endswith("@other.example.com/events")
        pipeline._environment = {**pipeline._environment, **relays}
        code, output, errors = await pipeline.command("webhook", "register", pipeline.url, "--replace", theirs.id)

    assert code == 0, errors
    assert theirs.url == pipeline.url


async def test_a_password_goes_into_the_url_in_sendgrid_and_never_onto_the_command_line(
    fake: FakeSendGrid, started: Running
) -> None:
    fake.choices.tests_carry_password = True
    async with started(username="user", password=["n/ew", "old"]) as pipeline:
        named = pipeline.url.replace("http://", "http://user:old@")
        code, _, errors = await pipeline.command("webhook", "register", named)
        assert code == 1
        assert "leave user name and password out of the URL" in errors
        webhook = fake.webhooks.add(named)

        code, output, errors = await pipeline.command("webhook", "register", pipeline.url)

        assert code == 0, errors
        assert list(fake.webhooks.all.values()) == [webhook]
        assert webhook.url == pipeline.url.replace("http://", "http://user:n%2Few@")
        assert "ew@" not in output + errors


async def test_events_that_do_not_come_are_an_error_that_says_where_to_look(started: Running) -> None:
    async with started(username="user", password="p") as pipeline:
        code, _, errors = await pipeline.command("webhook", "register", pipeline.url, "--wait", "0.5")

    assert code == 1
    assert "SendGrid's test was seen to leave out the user name and password" in errors
    assert "Traceback" not in errors


async def test_what_is_wrong_is_said(fake: FakeSendGrid, started: Running, source: str) -> None:
    narrow = fake.add_key(["user.webhooks.event.settings.read"])
    async with started(api_key=narrow) as pipeline:
        for arguments, words in (
            (["register", "nonsense"], "expected the URL that SendGrid is to post to"),
            (["register", pipeline.url], "user.webhooks.event.test.create"),
            (["register", pipeline.url, "--replace", "gone"], "there is no Event Webhook gone"),
            (["test"], "run: gridstream webhook register URL"),
            (["show", "--source", "nobody"], f"there is no source nobody; configured: {source}"),
        ):
            code, _, errors = await pipeline.command("webhook", *arguments)
            assert (code, words in errors) == (1, True), errors


async def test_a_parents_key_registers_the_webhook_of_a_subuser(fake: FakeSendGrid, started: Running) -> None:
    subuser = fake.add_subuser("europe")
    async with started(on_behalf_of="europe") as pipeline:
        code, _, errors = await pipeline.command("webhook", "register", pipeline.url)

    assert code == 0, errors
    assert [each.url for each in subuser.webhooks.all.values()] == [pipeline.url]
    assert not fake.webhooks.all


async def test_the_doctor_says_what_is_not_tracked(fake: FakeSendGrid, started: Running) -> None:
    fake.senders.tracking["click"] = fake.senders.tracking["subscription"] = False
    async with started() as pipeline:
        code, output, _ = await pipeline.command("doctor")

    assert code == 1
    assert "click, subscription tracking is off: click, unsubscribe will never come" in output


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
