"""Every statement of docs/queries.md gives the right answer on sample data."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.generated import ROOT
from tests.streams.objects.world import NAMES, World

_DAY = 24 * 3600
QUERIES = dict(
    re.findall(r"^## (.+?)\n.*?```sql\n(.*?)```", (ROOT / "docs/queries.md").read_text(), re.DOTALL | re.MULTILINE)
)


async def people(world: World) -> None:
    """Three people on two lists, and what they did."""
    fake = world.fake
    vip, news = fake.add_list("VIP"), fake.add_list("News")
    ada = fake.add_contact("ada@example.com", lists=[vip.id, news.id])
    bob = fake.add_contact("bob@example.com", lists=[news.id])
    eve = fake.add_contact("eve@example.org", lists=[news.id])
    gone = fake.add_contact("gone@example.org", lists=[news.id])
    fake.add_segment("Newsletter", members=[ada, bob, eve, gone])
    may = fake.add_singlesend("May")
    may.status, may.stats = "triggered", {"delivered": 4, "unique_clicks": 1}
    fake.suppressions.add("bounces", "eve@example.org")
    fake.suppressions.add("unsubscribes", "bob@example.com")
    fake.suppressions.add("unsubscribes", "stranger@example.com")
    await world.sync(*NAMES)
    fake._book.delete([gone.id])
    await world.sync("recipients", "lists")

    now = time.time()
    everybody = ("ada@example.com", "bob@example.com", "eve@example.org", "gone@example.org")
    await world.events("delivered", *everybody, at=now - _DAY, singlesend_id=may.id)
    await world.events("open", "ada@example.com", at=now - _DAY, singlesend_id=may.id)
    await world.events("open", "ada@example.com", at=now - _DAY + 1)
    await world.events("open", "bob@example.com", at=now - 40 * _DAY)
    await world.events("open", "bob@example.com", "eve@example.org", at=now - _DAY, sg_machine_open=True)
    await world.events("click", "ada@example.com", at=now - _DAY + 60, singlesend_id=may.id)
    await world.events("click", "bob@example.com", at=now - 2 * _DAY, singlesend_id=may.id)
    bounce = {"type": "bounce", "bounce_classification": "Invalid Address"}
    await world.events("bounce", "eve@example.org", "stranger@example.com", at=now - _DAY, **bounce)
    await world.events("bounce", "eve@example.org", at=now - _DAY + 1, **bounce)
    await world.events("bounce", "ada@example.com", at=now - _DAY, type="blocked")
    await world.calls("Order Placed", "ada@example.com", at=now - _DAY + 3600)
    await world.calls("Order Placed", "bob@example.com", at=now - _DAY + 3600)
    await world.calls("Signed In", "ada@example.com", "eve@example.org", at=now - _DAY + 7200)


EXPECTED: dict[str, Any] = {
    "Opens by list": [
        {"list": "News", "people": 1, "opens": 2},
        {"list": "VIP", "people": 1, "opens": 2},
    ],
    "Inactive recipients of a segment": lambda rows: [row["email"] for row in rows] == ["eve@example.org"],
    "From campaign to click": [
        {
            "campaign": "May",
            "people_delivered": 4,
            "people_clicked": 1,
            "rate": 0.25,
            "delivered_says_sendgrid": 4,
            "clicks_says_sendgrid": 1,
        }
    ],
    "Bounces by receiving domain and list": [
        {"list": "News", "domain": "example.org", "bounces": 2, "people": 1, "mostly": "Invalid Address"}
    ],
    "Suppressed, and still on a list": [
        {"list": "News", "why": "bounces", "people": 1, "share": 0.333},
        {"list": "News", "why": "unsubscribes", "people": 1, "share": 0.333},
    ],
    "What people did after a click": [
        {"event": "Order Placed", "people": 1, "times": 1},
        {"event": "Signed In", "people": 1, "times": 1},
    ],
    "Is it up to date?": lambda rows: (
        sorted(row["object"] for row in rows) == sorted(NAMES) and not any(row["error"] for row in rows)
    ),
}
"""By heading: the rows, or what is to be true of them."""


def test_every_query_has_an_expectation() -> None:
    assert QUERIES.keys() == EXPECTED.keys()


async def test_queries_answer_what_they_say(world: World, subtests: pytest.Subtests) -> None:
    await people(world)
    for heading, sql in QUERIES.items():
        with subtests.test(heading):
            result = await world.clickhouse.query(sql.replace("sendgrid.", f"{world.database}."))
            rows = list(result.named_results())
            expected = EXPECTED[heading]
            assert expected(rows) if isinstance(expected, Callable) else rows == expected, rows  # type: ignore[arg-type]
