"""The numbers that panels should show, counted in Python from the lines that were stored."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from schemas.columns import milliseconds

Row = dict[str, Any]
_TEST = "14c5d75ce93.dfd.64b469.filter0001"


def distinct(lines: Iterable[tuple[str, bytes]]) -> list[Row]:
    """Each event once, with what it counts as."""
    rows = {}
    for name, line in lines:
        row = orjson.loads(line)
        row["kind"] = name
        if name == "open" and row.get("sg_machine_open"):
            row["kind"] = "machine_open"
        if name == "bounce" and row.get("type") == "blocked":
            row["kind"] = "blocked"
        row["second"] = milliseconds(row["timestamp"]) / 1000
        rows[name, row["event_id"], row["timestamp"]] = row
    return list(rows.values())


class Expected:
    """What panels should show of a stretch of time.

    Args:
        lines: everything that was stored.
        start: in seconds since 1970.
        end: not in it.
        tests: whether SendGrid's test events count.
    """

    def __init__(self, lines: Iterable[tuple[str, bytes]], start: float, end: float, *, tests: bool = False) -> None:
        everything = [row for row in distinct(lines) if tests or not row.get("sg_message_id", "").startswith(_TEST)]
        self._rows = [row for row in everything if start <= row["second"] < end]
        self.kinds = Counter(row["kind"] for row in self._rows)
        firsts: dict[tuple[object, ...], float] = {}
        for row in everything:
            message = row.get("sg_message_id") or row["event_id"]
            key = (row["kind"], row["second"] // 86_400, message, row.get("email", ""))
            firsts[key] = min(firsts.get(key, row["second"]), row["second"])
        self.firsts = Counter(key[0] for key, second in firsts.items() if start <= second < end)

    def funnel(self) -> dict[str, int]:
        """Messages by step."""
        steps = {step: self.kinds[step] for step in ("processed", "delivered")}
        return steps | {str(step): self.firsts[step] for step in ("open", "machine_open", "click")}

    def by(self, value: Callable[[Row], Iterable[object]], *kinds: str) -> Counter[object]:
        """Events of some kinds by some value."""
        return Counter(each for row in self._rows if row["kind"] in kinds for each in value(row))

    def links(self) -> Counter[object]:
        """Clicks by URL without its query."""
        return self.by(lambda row: [re.split(r"[?#]", row["url"])[0]], "click")

    def domains(self, *kinds: str) -> Counter[object]:
        """Events by receiving domain."""
        return self.by(lambda row: [row["email"].split("@")[-1]], *kinds)

    def categories(self, *kinds: str) -> Counter[object]:
        """Events by category."""
        return self.by(lambda row: set(row.get("category", [])), *kinds)

    def campaigns(self, *kinds: str) -> Counter[object]:
        """Events by campaign."""
        names = ("marketing_campaign_name", "singlesend_name", "singlesend_id")
        return self.by(lambda row: [row[name] for name in names if row.get(name)][:1], *kinds)

    def over_time(self, step: int) -> Counter[object]:
        """Events by kind and time."""
        return Counter((row["kind"], int(row["second"] // step * step)) for row in self._rows)

    def latest(self, count: int, *kinds: str) -> list[str]:
        """The times of the latest events."""
        times = [row["timestamp"] for row in self._rows if not kinds or row["kind"] in kinds]
        return sorted(times, reverse=True)[:count]

    def slowest(self, count: int) -> list[int]:
        """How many seconds the slowest deliveries took, by what their message ids say."""
        waits = []
        for row in self._rows:
            found = re.search(r"-([0-9A-F]{8})-[0-9A-F]+\.[0-9]+$", row.get("sg_message_id", ""))
            if row["kind"] == "delivered" and found:
                waits.append(max(0, int(row["second"]) - int(found[1], 16)))
        return sorted(waits, reverse=True)[:count]
