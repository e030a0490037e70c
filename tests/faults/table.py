"""The table of faults: printed after a run, and kept in docs/reliability.md."""

import re
from collections.abc import Mapping
from pathlib import Path

from tests.faults.catalogue import Fault, Measured

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
_START, _END = "<!-- measured by: make faults -->", "<!-- until here -->"
_SECTION = re.compile(f"{_START}\n(.*?)\n{_END}", re.DOTALL)
_HEADER = ("fault", "what one sees", "rows lost", "rows twice", "seconds to recover")


def table(faults: Mapping[str, Fault], measured: Mapping[str, Measured]) -> str:
    """The faults that were measured, in Markdown."""
    rows = [
        (fault.name, fault.seen, str(costs.lost), str(costs.twice), _seconds(costs.seconds))
        for name, fault in faults.items()
        if (costs := measured.get(name))
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in (_HEADER, ("---",) * len(_HEADER), *rows))


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f}" if seconds >= 1 else "< 1"


def write(text: str) -> None:
    """Put a table into the document."""
    content = DOCUMENT.read_text()
    DOCUMENT.write_text(_SECTION.sub(f"{_START}\n{text}\n{_END}".replace("\\", r"\\"), content))


def documented() -> list[list[str]]:
    """The rows in the document."""
    found = _SECTION.search(DOCUMENT.read_text())
    assert found, "the document has no table"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()[2:]]
