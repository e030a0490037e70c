"""The whole way: calls on their topic become mails, through the real Kafka and the real engine; and the commands."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.segment import Call
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.fakes.faults import Drop
from tests.fakes.sendgrid import FakeSendGrid
from tests.pipeline import Pipeline, running

_PATIENCE_SECONDS = 60
AT = 1_790_000_000_000


def call(number: int, event: str = "Order Shipped", **properties: Any) -> Record:
    about = {"email": f"p{number}@example.com", "name": "Ada"} | properties
    one = Call("track", f"m{number}", f"u{number}", "", event, AT, AT, {}, about, {})
    return Record(one.key, one.record(), NO_HEADERS)


@asynccontextmanager
async def posting(
    servers: Settings, data: DataFolder, source: str, folder: Path, fake: FakeSendGrid, **mail: Any
) -> AsyncIterator[Pipeline]:
    environment = {"GRIDSTREAM_MAIL": json.dumps({"source": source, **mail})}
    of_source = {"api_key": fake.key, "api_url": fake.url, "user_id_key": "uid"}
    async with running(servers, data, source, folder, environment=environment, **of_source) as pipeline:
        await pipeline.supervisor.start(pipeline.worker("mail"))
        yield pipeline


def rule(fake: FakeSendGrid, **fields: Any) -> dict[str, Any]:
    template = next(iter(fake.templates), "") or fake.add_template("Order", "Hello {{name}}, {{order}}").id
    usual = {"event": "Order Shipped", "template_id": template, "from": "shop@example.com", "to": "$.properties.email"}
    return usual | fields


async def track(pipeline: Pipeline, event: str, email: str) -> None:
    """A Segment client posts a call."""
    body = {"userId": "u300", "event": event, "properties": {"email": email}}
    async with aiohttp.ClientSession() as session, session.post(f"{pipeline.base}/v1/track", json=body) as answer:
        assert answer.status == 200


async def counted(pipeline: Pipeline, wanted: dict[str, int]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        found: dict[str, int] = {}
        while found != wanted:
            found = {}
            for row in await pipeline.rows("mails", "state"):
                found[row["state"]] = found.get(row["state"], 0) + 1
            await asyncio.sleep(0.1)


async def test_calls_become_mails_and_their_events_come_back(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with FakeSendGrid() as fake:
        own = fake.add_key(["mail.send"])
        async with posting(servers, data, source, tmp_path, fake, rules=[rule(fake)], api_key=own) as pipeline:
            calls = [call(number) for number in range(300)]
            await pipeline.publish(topics.MAILS, *calls, *calls[:50], call(900, email="nobody"))
            for name in ("Order Shipped", "Something Else"):
                await track(pipeline, name, "p300@example.com")
            await counted(pipeline, {"sent": 301, "refused": 1})
            assert len(fake.mail.sent) == 301
            assert {each.headers["authorization"] for each in fake.called("POST", "/v3/mail/send")} == {f"Bearer {own}"}

            sent = next(mail for mail in fake.mail.sent if mail.recipients == ["p7@example.com"])
            await pipeline.post(json.dumps([sent.event("delivered", fake.clock.now())]).encode())
            await pipeline.settled()
            (event,) = await pipeline.rows("delivered", "user_id, custom_args['gridstream_rule'] AS rule")
            assert event == {"user_id": "u7", "rule": "Order Shipped"}

            code, output, _ = await pipeline.command("dead-letters", "list", "--step", "mail")
            assert "rule Order Shipped: to: found 'nobody', expected an address" in output
            code, output, _ = await pipeline.command("dead-letters", "replay", "--step", "mail")
            assert (code, output) == (0, "0 succeeded, 1 failed again\n")
            assert "p7@example.com" in (await pipeline.command("mail", "list", "--email", "P7@example.com"))[1]
            code, output, _ = await pipeline.command("doctor")
            assert f"mail: its API key may send at {fake.url} (mail.send); to check all of the rules it would" in output
            code, output, _ = await pipeline.command("mail", "check")
            assert (code, "give it the scope templates.read" in output) == (1, True)
            code, output, _ = await pipeline.command("mail", "test", "1", "--to", "me@example.com", "--sandbox")
            assert (code, "SendGrid would take the mail to me@example.com" in output) == (0, True)
            code, _, errors = await pipeline.command("mail", "test", "Z", "--to", "me@example.com")
            assert (code, "there is no rule Z; rules: 1 = Order Shipped" in errors) == (1, True)


async def test_what_is_in_doubt_is_held_until_somebody_decides(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with (
        FakeSendGrid() as fake,
        posting(servers, data, source, tmp_path, fake, rules=[rule(fake)]) as pipeline,
    ):
        (pipeline.plans("mail") / "after-sending.kill").touch()
        await pipeline.publish(topics.MAILS, call(1))
        await counted(pipeline, {"uncertain": 1})
        (arrived,) = fake.mail.sent
        fake.fail("POST", "/v3/mail/send", Drop(), times=2)
        await pipeline.publish(topics.MAILS, call(2), call(3))
        await counted(pipeline, {"uncertain": 3})
        code, output, _ = await pipeline.command("mail", "pending")
        assert (code, output.count("uncertain")) == (0, 3)

        await pipeline.post(json.dumps([arrived.event("processed", fake.clock.now())]).encode())
        await pipeline.settled()
        assert (await pipeline.command("mail", "pending"))[1].count("uncertain") == 2

        again, never = [row["id"] for row in await pipeline.rows("mails", "id, state") if row["state"] != "sent"]
        assert (await pipeline.command("mail", "resend", again))[1] == "1 sent\n"
        assert (await pipeline.command("mail", "drop", never))[1] == "1 dropped\n"
        assert "Nothing is in doubt." in (await pipeline.command("mail", "pending"))[1]
        code, _, errors = await pipeline.command("mail", "resend", never)
        assert (code, "no mail with this id is in doubt" in errors) == (1, True)
        assert len(fake.mail.sent) == 2
