"""The fake in a process of its own."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import aiohttp
import orjson

ROOT = Path(__file__).parents[3]


async def test_says_where_it_is_and_has_its_contacts() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.fakes.sendgrid", "--contacts", "10", cwd=ROOT, stdout=PIPE
    )
    try:
        assert process.stdout
        said = orjson.loads(await process.stdout.readline())
        headers = {"Authorization": f"Bearer {said['key']}"}
        url = f"{said['url']}/v3/marketing/lists/{said['list_id']}"
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
            assert (await answer.json())["contact_count"] == 10
    finally:
        process.terminate()
        await process.wait()
