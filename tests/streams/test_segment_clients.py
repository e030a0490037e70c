"""Segment's own published clients, unchanged but for the host, drive the ingress.

Each is installed into a folder of its own: the Python one wants an older dateutil than the stream engine.
"""

import asyncio
import json
import os
import shutil
import sys
from typing import Any

import pytest

from tests.streams.serving import Server, serving

KEYS = {"write_keys": ["wk"]}
PYTHON_CLIENT = "segment-analytics-python==2.4.0"
NODE_CLIENT = "@segment/analytics-node@3.1.0"
_PYTHON_SCRIPT = """
import sys
from segment.analytics import Client

failures = []
note = lambda error, _: failures.append(error)
client = Client(sys.argv[2], host=sys.argv[1], gzip=True, max_retries=1, on_error=note)
client.identify("u1", {"email": "ada@example.com", "first_name": "Ada"})
client.track("u1", "Order Shipped", {"total": 12.5})
client.page("u1", "Docs", "Home")
client.screen("u1", "Docs", "Home")
client.group("u1", "g1", {"name": "Initech"})
client.alias("a1", "u1")
client.flush()
client.join()
sys.exit(bool(failures))
"""
_NODE_SCRIPT = """
import { Analytics } from "@segment/analytics-node"

const [host, writeKey] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, flushAt: 2, maxRetries: 1 })
analytics.on("error", () => { process.exitCode = 1 })
analytics.identify({ userId: "u1", traits: { email: "ada@example.com", firstName: "Ada" } })
analytics.track({ userId: "u1", event: "Order Shipped", properties: { total: 12.5 } })
analytics.page({ anonymousId: "a1", name: "Home" })
await analytics.closeAndFlush()
"""


@pytest.fixture(scope="module")
async def python_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that makes some calls with the Python client; a host and a write key are its arguments."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "calls.py").write_text(_PYTHON_SCRIPT)
    options = ("--quiet", "--disable-pip-version-check", "--target", str(folder))
    assert await run(sys.executable, "-m", "pip", "install", *options, PYTHON_CLIENT) == 0
    return [sys.executable, str(folder / "calls.py")]


@pytest.fixture(scope="module")
async def node_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The same with the Node client."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "calls.mjs").write_text(_NODE_SCRIPT)
    options = ("--no-save", "--no-package-lock", "--silent", "--prefix", str(folder))
    assert await run("npm", "install", *options, NODE_CLIENT) == 0
    return ["node", str(folder / "calls.mjs")]


async def test_the_python_client(python_client: list[str]) -> None:
    async with serving(segment=KEYS, contacts=[{"name": "default"}]) as server:
        assert await run(*python_client, server.url, "wk") == 0
        calls = kept(server)

    assert [call["type"] for call in calls] == ["identify", "track", "page", "screen", "group", "alias"]
    assert all(call["timestamp"] > "2020" for call in calls)
    assert len({call["message_id"] for call in calls}) == len(calls)
    assert [topic for topic, _ in server.producer.records].count("gridstream.cohorts") == 1


async def test_the_python_client_with_a_wrong_key(python_client: list[str]) -> None:
    async with serving(segment=KEYS) as server:
        assert await run(*python_client, server.url, "other") == 1

    assert not server.producer.records


@pytest.mark.skipif(not shutil.which("npm"), reason="needs Node")
async def test_the_node_client(node_client: list[str]) -> None:
    async with serving(segment=KEYS) as server:
        assert await run(*node_client, server.url, "wk") == 0
        calls = {call["type"]: call for call in kept(server)}  # two requests, in whatever order they arrive

    assert calls.keys() == {"identify", "track", "page"}
    assert json.loads(calls["identify"]["traits"]) == {"email": "ada@example.com", "firstName": "Ada"}


@pytest.mark.skipif(not shutil.which("npm"), reason="needs Node")
async def test_the_node_client_with_a_wrong_key(node_client: list[str]) -> None:
    async with serving(segment=KEYS) as server:
        await run(*node_client, server.url, "other")

    assert not server.producer.records


def kept(server: Server) -> list[dict[str, Any]]:
    """The calls that arrived."""
    return [json.loads(record.value) for topic, record in server.producer.records if topic == "gridstream.calls"]


async def run(*command: str) -> int | None:
    """Run a program to its end; what it prints is in the test's output."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    return await process.wait()
