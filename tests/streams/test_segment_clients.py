"""Segment's own published clients, unchanged but for the host, drive the ingress."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from segment.analytics import Client

from tests.streams.serving import serving

KEYS = {"write_keys": ["wk"]}
NODE_CLIENT = "@segment/analytics-node@3.1.0"
"""Exactly this version, so that a failure is ours."""
_NODE_SCRIPT = """
import { Analytics } from "@segment/analytics-node"
const analytics = new Analytics({ writeKey: "wk", host: process.argv[2], flushAt: 2 })
analytics.on("error", (error) => { console.error(error); process.exitCode = 1 })
analytics.identify({ userId: "u1", traits: { email: "ada@example.com", firstName: "Ada" } })
analytics.track({ userId: "u1", event: "Order Shipped", properties: { total: 12.5 } })
analytics.page({ anonymousId: "a1", name: "Home" })
await analytics.closeAndFlush()
"""


def use_python(url: str) -> list[object]:
    """Make some calls; returns what went wrong."""
    failures: list[object] = []
    client = Client("wk", host=url, gzip=True, max_retries=1, on_error=lambda error, _: failures.append(error))
    client.identify("u1", {"email": "ada@example.com", "first_name": "Ada"})
    client.track("u1", "Order Shipped", {"total": 12.5})
    client.page("u1", "Docs", "Home")
    client.screen("u1", "Docs", "Home")
    client.group("u1", "g1", {"name": "Initech"})
    client.alias("a1", "u1")
    client.flush()
    client.join()
    return failures


async def test_the_python_client() -> None:
    async with serving(segment=KEYS, contacts=[{"name": "default"}]) as server:
        assert await asyncio.to_thread(use_python, server.url) == []
        kept = [json.loads(record.value) for topic, record in server.producer.records if topic == "gridstream.calls"]

    assert [call["type"] for call in kept] == ["identify", "track", "page", "screen", "group", "alias"]
    assert all(call["timestamp"] > "2020" for call in kept)
    assert len({call["message_id"] for call in kept}) == len(kept)
    assert [topic for topic, _ in server.producer.records].count("gridstream.cohorts") == 1


async def test_the_python_client_with_a_wrong_key() -> None:
    async with serving(segment={"write_keys": ["other"]}) as server:
        assert await asyncio.to_thread(use_python, server.url)

    assert not server.producer.records


@pytest.mark.skipif(not shutil.which("npm"), reason="needs Node")
async def test_the_node_client(tmp_path: Path) -> None:
    (tmp_path / "calls.mjs").write_text(_NODE_SCRIPT)
    await run("npm", "install", "--no-save", "--no-package-lock", "--silent", "--prefix", str(tmp_path), NODE_CLIENT)
    async with serving(segment=KEYS) as server:
        await run("node", str(tmp_path / "calls.mjs"), server.url)
        kept = [json.loads(record.value) for _, record in server.producer.records]

    assert [call["type"] for call in kept] == ["identify", "track", "page"]
    assert json.loads(kept[0]["traits"]) == {"email": "ada@example.com", "firstName": "Ada"}


async def run(*command: str) -> None:
    """Run a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
