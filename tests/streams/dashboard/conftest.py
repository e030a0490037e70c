from collections.abc import AsyncIterator

import pytest

from connectors.clickhouse import ClickHouse
from schemas.ddl import FOREVER
from streams.datafolder import DataFolder
from streams.schema import apply
from streams.settings import Settings
from tests.streams.dashboard.serving import Page, serving


@pytest.fixture
async def page(servers: Settings, data: DataFolder, clickhouse: ClickHouse, source: str) -> AsyncIterator[Page]:
    """The page over an empty database."""
    await apply({source: FOREVER}, clickhouse)
    async with serving(servers, data.clickhouse_url(servers), source) as page:
        await page.counted()
        yield page
