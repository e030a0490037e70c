"""The faults of the suite, as the table in docs/reliability.md lists them."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

import tests.faults

MEASURED = "measured"
"""The property of a test's report that holds its figures."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A row of the table.

    Attributes:
        name: what happens.
        seen: what the sender, the reader or the operator sees of it.
    """

    name: str
    seen: str


FAULTS: dict[str, Fault] = {}
"""All that a test provokes, by name, in the order of the files."""


def fault(name: str, *, seen: str) -> pytest.MarkDecorator:
    """Marks the test, or the parameters of a test, that provokes a fault."""
    assert name not in FAULTS, f"two tests provoke: {name}"
    FAULTS[name] = Fault(name, seen)
    return pytest.mark.fault(name)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a fault cost.

    Attributes:
        lost: acknowledged events that are neither row nor dead letter nor reported as expired.
        twice: rows that readers count more than once.
        seconds: from the death, or from the end of an outage, until all that was acknowledged was in its table.
    """

    lost: int
    twice: int
    seconds: float


def every_fault() -> Mapping[str, Fault]:
    """All faults, of the tests that have not been imported yet too."""
    for module in pkgutil.iter_modules(tests.faults.__path__):
        if module.name.startswith("test_"):
            importlib.import_module(f"tests.faults.{module.name}")
    return FAULTS
