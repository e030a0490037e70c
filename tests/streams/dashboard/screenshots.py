"""`python -m tests.streams.dashboard.screenshots`: the pictures in docs/, of three days of a simulated feed."""

import asyncio
import tempfile
import time
from pathlib import Path

from streams.simulator.feed import Feed
from streams.simulator.simulate import simulate
from tests.generated import ROOT
from tests.pipeline import running
from tests.servers import embedded_servers
from tests.streams.dashboard.browser import DESKTOP, PHONE, Browser
from tests.streams.dashboard.serving import serving

_SOURCE = "sendgrid"
_SECONDS = 3 * 86_400
_EVENTS = 40_000
_FIRST = ("rates", "funnel", "timeline")


def take(url: str) -> None:
    """Take them."""
    browser = Browser()
    try:
        for name, size, scheme, query in (
            ("dashboard", (1280, 1180), "light", ""),
            ("dashboard-dark", (1280, 1180), "dark", "range=7d"),
            ("dashboard-phone", PHONE, "dark", ""),
            ("dashboard-domain", DESKTOP, "light", "range=yesterday&domain=outlook.example"),
        ):
            browser.look(size, "dark" if scheme == "dark" else "light", scale=2 if size == PHONE else 1)
            browser.open(f"{url}/?{query}")
            for panel in (*_FIRST, *(("answers", "domains") if "domain=" in query else ())):
                browser.answered(panel)
            browser.until(lambda: "balanced" in browser.answered("freshness").text)
            browser.run("scrollTo(0, 0)")
            if "domain=" in query:
                browser.run("document.getElementById('panel-domains').scrollIntoView()")
            browser.shot(ROOT / "docs" / f"{name}.png")
        browser.answered("slowest")
        browser.follow("#panel-slowest td.who a")
        browser.answered("history")
        browser.run("scrollTo(0, 0)")
        browser.shot(ROOT / "docs" / "dashboard-person.png")
    finally:
        browser.quit()


async def main() -> None:
    """Fill a pipeline, and take pictures of its page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            embedded_servers(folder / "data") as (settings, data, _),
            running(settings, data, _SOURCE, folder) as pipeline,
            serving(settings, data.clickhouse_url(settings), _SOURCE) as page,
        ):
            start = time.time() - _SECONDS
            feed = Feed(seed=11, start=start, rate=_EVENTS / _SECONDS, compress=1, users=5_000)
            await simulate(pipeline.url, feed, count=_EVENTS)
            await pipeline.settled()
            await page.counted()
            await asyncio.to_thread(take, page.url)


if __name__ == "__main__":
    asyncio.run(main())
