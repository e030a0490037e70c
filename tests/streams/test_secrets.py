"""No secret is ever seen where it does not belong: a whole gridstream, with a recognisable one in every setting."""

import asyncio
import json
import os
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from inspect import isawaitable
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from pydantic import BaseModel

from connectors.errors import Fatal
from connectors.kafka import Admin, Cluster
from schemas import topics
from streams import embedded
from streams.datafolder import DataFolder
from streams.groups import group
from streams.settings import Settings, load
from tests.fakes.faults import Respond
from tests.fakes.server import Answer, Call, FakeServer
from tests.pipeline import PRIVACY_KEY, Pipeline, running
from tests.samples import sample
from tests.streams.serving import basic

ROLES = ("contacts", "objects", "forward", "relay", "mail")
"""Beside those of every pipeline."""
_PATIENCE_SECONDS = 60


def secret_settings(of: type[BaseModel] = Settings, section: str = "") -> Iterator[tuple[str, str]]:
    """Section and key of every setting that is a secret."""
    for key, field in of.model_fields.items():
        kinds = [each for each in (field.annotation, *get_args(field.annotation)) if isinstance(each, type)]
        model = next((each for each in kinds if issubclass(each, BaseModel)), None)
        if model:
            yield from secret_settings(model, f"{section}.{key}".lstrip("."))
        elif "SecretStr" in repr(field.annotation):
            yield section, key


SECRETS = list(secret_settings())


def recognisable(section: str, key: str) -> str:
    return f"recognisable-{section}-{key}".replace("_", "-").replace(".", "-")


def test_every_kind_of_setting_is_found() -> None:
    assert {
        ("clickhouse", "url"),
        ("dashboard", "password"),
        ("sources", "password"),
        ("sources", "api_key"),
        ("contacts", "secret"),
        ("segment", "write_keys"),
        ("amplitude", "api_key"),
        ("relays", "url"),
        ("mail", "api_key"),
    } <= set(SECRETS)


class Echo(FakeServer):
    """An outside system of the worst kind: it refuses everything, and repeats in its answer what it was asked with."""

    async def answer(self, call: Call) -> Answer:
        said = f"refused: {call.headers.get('authorization')} {call.target} {call.content[:200]!r}"
        return Answer(400, {"error": said, "errors": [{"field": None, "message": said}]})


@asynccontextmanager
async def installed(
    servers: Settings, data: DataFolder, source: str, folder: Path, echo: FakeServer
) -> AsyncIterator[tuple[Pipeline, Mapping[str, str]]]:
    """A gridstream with all roles, and its secrets by section and key."""
    secrets = {f"{section}.{key}": recognisable(section, key) for section, key in SECRETS}
    clickhouse_url = data.clickhouse_url(servers)
    secrets["clickhouse.url"] = urlsplit(clickhouse_url).password or ""
    secrets["privacy.key"] = PRIVACY_KEY
    # What a setting needs that is not just any text.
    written = secrets | {
        "clickhouse.url": clickhouse_url,
        "relays.url": echo.url.replace("//", f"//user:{secrets['relays.url']}@") + "/relay?token=recognisable-token",
    }
    entries: dict[str, dict[str, Any]] = {
        "sources": {"name": source, "username": "user", "api_url": echo.url},
        "contacts": {"flush_seconds": 0.1},
        "amplitude": {"url": echo.url},
        "relays": {"name": "copy"},
        "mail": {"rules": [{"event": "Bought", "template_id": "d-1", "from": "a@example.com", "to": "b@example.com"}]},
        "dashboard": {"port": embedded.free_port()},
        "objects": {"every_seconds": 5},
    }
    for section, key in SECRETS:
        entries.setdefault(section, {})[key] = written[f"{section}.{key}"]
    environment = {}
    for section, entry in entries.items():
        if get_args(Settings.model_fields[section].annotation):
            environment[f"GRIDSTREAM_{section.upper()}"] = json.dumps([entry])
        else:
            for key, value in entry.items():
                many = "tuple" in repr(dict_of(section)[key].annotation) and isinstance(value, str)
                text = value if isinstance(value, str) and not many else json.dumps([value] if many else value)
                environment[f"GRIDSTREAM_{section.upper()}__{key.upper()}"] = text
    async with running(servers, data, source, folder, environment=environment) as pipeline:
        dashboard = pipeline.process("dashboard", ["dashboard"])
        await pipeline.supervisor.start(dashboard, *map(pipeline.worker, ROLES))
        async with Admin(Cluster(pipeline.servers)) as admin:
            for joined in (
                group("forward", source),
                group("relay", "copy"),
            ):  # which begin with what comes from then on
                await eventually(partial(admin.members, joined))
        yield pipeline, {**secrets, "token": "recognisable-token"}


def dict_of(section: str) -> Mapping[str, Any]:
    model = Settings.model_fields[section].annotation
    assert model
    return dict(model.model_fields)


async def test_no_secret_is_in_logs_errors_status_metrics_dead_letters_or_process_lists(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    async with Echo() as echo, installed(servers, data, source, tmp_path, echo) as (pipeline, secrets):
        await use(pipeline, secrets, echo)
        seen = {
            **{f"log {name}": pipeline.log(name) for name in ("ingress", "normalize", "store", "dashboard", *ROLES)},
            **{f"command {name}": text async for name, text in commands(pipeline)},
            **{f"page {url}": text async for url, text in pages(pipeline, secrets)},
            **{f"topic {name}": text async for name, text in records(pipeline)},
            "tables": repr([await pipeline.rows(table) for table in ("dead_letters", "syncs", "mails", "activity")]),
            "processes": repr([child.cmdline() for child in psutil.Process().children(recursive=True)]),
        }

    assert len(secrets) == len(set(secrets.values())) == len(SECRETS) + 1
    assert "(not shown)" in seen["tables"], "what repeats a secret has come so far"
    for place, text in seen.items():
        assert text, place
        for name, secret in secrets.items():
            assert secret not in text, f"{name} is in {place}"


async def use(pipeline: Pipeline, secrets: Mapping[str, str], echo: FakeServer) -> None:
    """Have everything happen in which a secret has a part, well and ill."""
    known = {"Authorization": basic("user", secrets["sources.password"])}
    echo.fail("POST", "/relay", Respond(500, b"first"), times=1)
    for body in (sample("click"), b"no json", sample("delivered")):
        assert await pipeline.post(body, **known) == 200
    assert await pipeline.post(b"[]", Authorization=basic("user", "wrong")) == 401
    write_key = {"Authorization": basic(secrets["segment.write_keys"], "")}
    track = {"userId": "u1", "event": "Bought", "properties": {}}
    identify = {"userId": "u1", "traits": {"email": "u1@example.com"}}
    users = [{"user_id": "u2", "user_properties": {"email": "u2@example.com"}}]
    cohort = {"cohort_id": "c1", "cohort_name": "VIP", "in_cohort": True, "users": users}
    for path, call, headers in (
        ("/v1/track", track, write_key),
        ("/v1/identify", identify, write_key),
        ("/amplitude/cohorts", cohort, {"X-Gridstream-Secret": secrets["contacts.secret"]}),
    ):
        async with (
            aiohttp.ClientSession() as session,
            session.post(pipeline.base + path, json=call, headers=headers) as answer,
        ):
            assert answer.status == 200

    async def was_refused_everywhere() -> bool:
        steps = {row["step"] for row in await pipeline.rows("dead_letters", "DISTINCT step")}
        paths = {call.path.split("/")[1] + call.path for call in echo.calls}
        wanted = ("relay", "/v3/mail/send", "/v3/marketing/lists", "httpapi")
        return {"forward", "mail", "normalize"} <= steps and all(any(each in path for path in paths) for each in wanted)

    await eventually(was_refused_everywhere)
    await eventually(lambda: pipeline.count("syncs"))
    await eventually(lambda: all("refused: " in pipeline.log(role) for role in ("relay", "contacts")))


async def commands(pipeline: Pipeline) -> AsyncIterator[tuple[str, str]]:
    """What commands print, those that fail included."""
    for line in (
        "status",
        "status --json",
        "doctor",
        "dead-letters list",
        "cohorts list",
        "mail list",
        "mail check",
        "sync lists",
        "webhook show",
        f"webhook register {pipeline.url} --wait 0.1",
        "sql nonsense",
        "schema show",
    ):
        _, output, errors = await pipeline.command(*line.split(" "))
        yield line, output + errors


async def pages(pipeline: Pipeline, secrets: Mapping[str, str]) -> AsyncIterator[tuple[str, str]]:
    """What HTTP servers say: metrics of every process, and the live page's data."""
    urls = [f"{pipeline.base}/metrics"]
    for role in ("normalize", "store", *ROLES):
        port = next(json.loads(line)["port"] for line in pipeline.log(role).splitlines() if '"listening"' in line)
        urls.append(f"http://127.0.0.1:{port}/metrics")
    page = f"http://127.0.0.1:{pipeline._environment['GRIDSTREAM_DASHBOARD__PORT']}"
    urls += [f"{page}/{path}" for path in ("metrics", "api/page", "api/health", "api/panels/tail")]
    headers = {"Authorization": basic("any", secrets["dashboard.password"])}
    async with aiohttp.ClientSession(headers=headers) as session:
        for url in urls:
            async with session.get(url) as answer:
                yield url, await answer.text()


async def records(pipeline: Pipeline) -> AsyncIterator[tuple[str, str]]:
    """What is in Kafka."""
    for topic in (topics.raw(pipeline.source), topics.dead_letters(pipeline.source), topics.forward(pipeline.source)):
        found = await pipeline.records(topic)
        yield topic, repr([(record.key, record.value, record.headers) for record in found])


async def eventually(is_so: Callable[[], Any | Awaitable[Any]]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            answer = is_so()
            if await answer if isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("section", "key"), SECRETS)
@pytest.mark.parametrize("wrong", ['{{a = "{secret}"}}', '[["{secret}"]]', '["{secret}", 5]', '["{secret}", ""]'])
def test_no_secret_is_in_what_is_said_of_a_wrong_one(
    section: str, key: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    is_list = bool(get_args(Settings.model_fields[section].annotation))
    header = f"[[{section}]]" if is_list else f"[{section}]"
    content = f"{header}\n{key} = {wrong.format(secret=recognisable(section, key))}\n"
    (tmp_path / "gridstream.toml").write_text(content)

    assert tomllib.loads(content)
    with pytest.raises(Fatal) as failure:
        load()
    assert key in str(failure.value)
    assert recognisable(section, key) not in str(failure.value)


def test_a_file_may_hold_every_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("GRIDSTREAM_")]:
        monkeypatch.delenv(name)
    entries: dict[str, Any] = {}
    for section, key in SECRETS:
        text = f"http://u:p@{section}.example.com" if key == "url" else recognisable(section, key)
        if get_args(Settings.model_fields[section].annotation):
            entries.setdefault(section.upper(), [{}])[0][key] = text
        else:
            many = "tuple" in repr(dict_of(section)[key].annotation)
            entries[f"{section.upper()}__{key.upper()}"] = [text] if many else text
    for name, value in entries.items():
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        monkeypatch.setenv(f"GRIDSTREAM_{name}_FILE", str(tmp_path / name))

    settings = load()

    for section, key in SECRETS:
        found = getattr(settings, section)
        value = getattr(found[0] if isinstance(found, tuple) else found, key)
        value = value[0] if isinstance(value, tuple) else value
        assert section.replace("_", "-") in value.get_secret_value()
