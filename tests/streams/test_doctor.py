"""What `gridstream doctor` finds, on the run's servers and on some that are not there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER
from streams import embedded
from streams.datafolder import DataFolder
from streams.doctor import servers as checks
from streams.doctor.examine import examine
from streams.doctor.finding import Finding
from streams.schema import apply, ensure_topics
from streams.settings import Settings

SUBJECTS = {
    "ingress": "ingress",
    "kafka": "Kafka",
    "worker": "role store",
    "clickhouse": "ClickHouse",
    "dashboard": "live page",
    "sources": "source {source}",
    "contacts": "contacts {source}",
    "segment": "segment",
    "mail": "mail",
    "objects": "api_key of {source}",
    "amplitude": "amplitude {source}",
    "relays": "relay old",
    "privacy": "privacy",
}
"""By the section of the settings: what the doctor calls it."""


def configured(servers: Settings, data: DataFolder, source: str, **sections: Any) -> Settings:
    """Settings of the run's servers, as in production."""
    return Settings(
        **{
            "kafka": {"bootstrap_servers": servers.kafka.servers},
            "clickhouse": {"url": data.clickhouse_url(servers)},
            "sources": [{"name": source}],
            **sections,
        }
    )


async def findings(settings: Settings, data: DataFolder) -> dict[str, Finding]:
    """By subject."""
    return {finding.subject: finding async for finding in examine(settings, data)}


@asynccontextmanager
async def consumer(status: int) -> AsyncIterator[str]:
    """Somebody who answers: where."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = embedded.free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://user:secret@127.0.0.1:{port}/hook"
    finally:
        await runner.cleanup()


async def test_every_section_of_the_settings_is_looked_at(servers: Settings, data: DataFolder, source: str) -> None:
    nobody = f"http://127.0.0.1:{embedded.free_port()}"
    rule = {"event": "Ordered", "template_id": "d-1", "from": "shop@example.com", "to": "$.properties.email"}
    settings = configured(
        servers,
        data,
        source,
        sources=[{"name": source, "api_key": "SG.key", "api_url": nobody}],
        contacts=[{"name": source}],
        mail={"rules": [rule]},
        amplitude=[{"api_key": "key", "url": nobody}],
        relays=[{"name": "old", "url": nobody}],
    )
    await ensure_topics(settings)
    found = await findings(settings, data)

    assert SUBJECTS.keys() == Settings.model_fields.keys()
    for section, subject in SUBJECTS.items():
        assert subject.format(source=source) in found, section
    for away in ("api_key of {source}", "contacts {source}", "amplitude {source}", "relay old", "mail", "ingress"):
        assert found[away.format(source=source)].remedy, away


async def test_what_is_well_needs_nothing(
    servers: Settings, data: DataFolder, source: str, clickhouse: ClickHouse
) -> None:
    async with consumer(405) as url:
        settings = configured(servers, data, source, relays=[{"name": "old", "url": url}])
        await ensure_topics(settings)
        await apply({source: FOREVER}, clickhouse)
        found = await findings(settings, data)

    wrong = {each.subject for each in found.values() if each.remedy and "disk" not in each.subject}
    assert wrong == {"role normalize", "role store", "role relay old", "ingress"}  # none of them runs
    assert found["replicas"].state == "1 of each partition on 1 brokers, all in sync"
    assert found["relay old"].state == "its consumer is there: it answers 405 where nothing is posted"


async def test_a_relay_that_refuses_the_password_is_named(servers: Settings, data: DataFolder, source: str) -> None:
    async with consumer(401) as url:
        found = await findings(configured(servers, data, source, relays=[{"name": "old", "url": url}]), data)

    assert found["relay old"].remedy == "check the user name and the password in relays.url"
    assert "secret" not in str(found)


async def test_replicas_that_nobody_can_have_are_named(servers: Settings, data: DataFolder, source: str) -> None:
    kafka = {"bootstrap_servers": servers.kafka.servers, "replication_factor": 3}
    found = await findings(configured(servers, data, source, kafka=kafka), data)

    assert found["kafka.replication_factor"].state == "3, and the brokers are 1"


async def test_a_cluster_that_clickhouse_does_not_know_is_named(
    servers: Settings, data: DataFolder, source: str
) -> None:
    clickhouse = {"url": data.clickhouse_url(servers), "cluster": "nowhere"}
    found = await findings(configured(servers, data, source, clickhouse=clickhouse), data)

    assert found["cluster nowhere"].remedy.startswith("name one of system.clusters")


@pytest.mark.parametrize(("free", "remedy"), [(14, "free some"), (15, "")])
def test_a_disk_needs_room(free: int, remedy: str) -> None:
    assert checks._room("disk", free, 100, "free some") == ("disk", f"{free}% of it is free", remedy)
