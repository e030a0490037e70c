"""No log line has an email address, a key or a password in it, whatever fails, and whoever quotes what it refuses."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.event_webhook import Signer
from connectors.kafka import NO_HEADERS, Record
from schemas import topics
from schemas.events import EVENTS
from schemas.segment import Call
from streams import logs
from streams.datafolder import DataFolder
from streams.settings import Settings
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.consumer import FakeConsumer
from tests.fakes.faults import Respond
from tests.fakes.sendgrid import FakeSendGrid
from tests.pipeline import Pipeline, running

ADDRESS = "ada.lovelace+secret@example.com"
PASSWORD = "correct-horse-battery"
HIDDEN = json.dumps("…@…").strip('"')
"""What stands for an address in a log that is JSON."""
_AT = 1_790_000_000_000
_PATIENCE_SECONDS = 60
_LOCAL = st.text("abcdefgzäß0189.+-_", min_size=1, max_size=20)


class TestHidden:
    @given(local=_LOCAL, around=st.sampled_from(["{}", "<{}>", '"{}"', "to: {}, refused", "https://x/?email={}&y=1"]))
    def test_an_address_is_nowhere(self, local: str, around: str) -> None:
        shown = logs.hidden(around.format(f"{local}@mail.example.com"))

        assert shown == around.format("…@…")

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("Kafka at 127.0.0.1:9092: gone", "Kafka at 127.0.0.1:9092: gone"),
            ("GET /v3/x?email=ada%40example.com", "GET /v3/x?email=…@…"),
            ("key SG.abc-1.def_2 is wrong", "key SG.… is wrong"),
            ("http://user:pa55word@host:8123", "http://user:…@…:8123"),
        ],
    )
    def test_what_is_no_secret_stays(self, text: str, shown: str) -> None:
        assert logs.hidden(text) == shown

    def test_what_is_configured_as_a_secret_is_hidden_wherever_it_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(logs, "_secrets", set())
        settings = Settings(
            sources=[{"password": [PASSWORD, "short"]}],
            clickhouse={"url": "http://gridstream:p%40ssw0rd@clickhouse:8123"},
            segment={"write_keys": "write-key-1"},
        )
        logs.hide(settings.secrets())

        assert logs.hidden(f"a {PASSWORD} b p@ssw0rd, p%40ssw0rd; write-key-1 short") == "a … b …, …; … short"


async def logged(pipeline: Pipeline, process: str, *texts: str) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not all(text in pipeline.log(process) for text in texts):
            await asyncio.sleep(0.05)


async def test_no_line_of_a_run_names_a_person_or_a_key(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    signer = Signer.generate()
    quoting = Respond(400, {"errors": [{"message": f"{ADDRESS} is refused", "field": "to"}]})
    async with FakeAmplitude() as amplitude, FakeConsumer(signer.public_key) as consumer, FakeSendGrid() as sendgrid:
        amplitude.fail("POST", "*", Respond(500, f"cannot take {ADDRESS}".encode()), times=None)
        consumer.fail("POST", "*", Respond(500, f"cannot take {ADDRESS}".encode()), times=None)
        sendgrid.fail("POST", "/v3/mail/send", quoting, times=None)
        template = sendgrid.add_template("Order", "Hello").id
        rule = {"event": "Ordered", "template_id": template, "from": "shop@example.com", "to": "$.properties.email"}
        relay = consumer.url.replace("http://", f"http://user:{PASSWORD}@")
        sections: dict[str, Any] = {
            "AMPLITUDE": [{"source": source, "api_key": amplitude.api_key, "url": amplitude.url}],
            "RELAYS": [{"source": source, "name": "old", "url": relay}],
            "MAIL": {"source": source, "rules": [rule]},
        }
        environment = {f"GRIDSTREAM_{name}": json.dumps(value) for name, value in sections.items()}
        of_source = {"api_key": sendgrid.key, "api_url": sendgrid.url, "username": "sendgrid", "password": PASSWORD}
        async with running(servers, data, source, tmp_path, environment=environment, **of_source) as pipeline:
            roles = ("forward", "relay", "mail")
            await pipeline.supervisor.start(*map(pipeline.worker, roles))
            for role in roles:
                await logged(pipeline, role, "working")
            login = {"Authorization": aiohttp.encode_basic_auth("sendgrid", PASSWORD)}
            opened = orjson.dumps([{"event": "open", "email": ADDRESS, "sg_event_id": "e1"}, f"no event of {ADDRESS}"])
            assert await pipeline.post(opened, **login) == 200
            assert await pipeline.post(f"not JSON: {ADDRESS}".encode(), **login) == 200
            wrong = {"Authorization": aiohttp.encode_basic_auth("sendgrid", f"{PASSWORD}!")}
            assert await pipeline.post(opened, **wrong) == 401
            click = next(event for event in EVENTS if event.name == "click")
            refused = orjson.dumps({"event_id": "x", ADDRESS: 1})  # ClickHouse says that there is no such column
            await pipeline.publish(topics.events(source, click), Record(None, refused))
            mail = Call("track", "m1", ADDRESS, "", "Ordered", _AT, _AT, {}, {"email": ADDRESS}, {})
            await pipeline.publish(topics.MAILS, Record(mail.key, mail.record(), NO_HEADERS))

            await pipeline.settled()
            await logged(pipeline, "store", "row refused by ClickHouse", HIDDEN)
            await logged(pipeline, "forward", f"cannot take {HIDDEN}")
            await logged(pipeline, "relay", f"cannot take {HIDDEN}")
            await logged(pipeline, "mail", f"{HIDDEN} is refused")
            secrets = [ADDRESS, PASSWORD, amplitude.api_key, sendgrid.key, "lovelace"]
            processes = ("ingress", "normalize", "store", *roles)
    for process in processes:
        said = pipeline.log(process)
        assert said
        for secret in secrets:
            assert secret not in said, (process, secret)
