"""The shape of the house: which package may know which."""

import ast
import re
from pathlib import Path

import pytest

from streams import metrics

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "schemas": {"schemas"},
    "connectors": {"connectors", "schemas"},
    "streams": {"connectors", "schemas", "streams"},
}
OURS = {"bench", "connectors", "schemas", "streams", "tests"}
IMPURE = {
    "aiohttp",
    "aiokafka",
    "asyncio",
    "clickhouse_connect",
    "faust",
    "os",
    "random",
    "socket",
    "subprocess",
    "time",
}


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_in_one_direction(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))

    assert files
    for file in files:
        assert imported(file) & OURS <= ALLOWED[package], file


def test_schemas_are_pure() -> None:
    for file in (ROOT / "schemas").rglob("*.py"):
        assert not imported(file) & IMPURE, file


def test_only_the_transport_knows_how_faust_is_made_inside() -> None:
    knowing = {
        file.name
        for package in ALLOWED
        for file in (ROOT / package).rglob("*.py")
        if "faust.transport" in file.read_text().replace("faust.transports", "")
    }

    assert knowing == {"transport.py"}


def test_every_metric_is_counted_somewhere() -> None:
    declared = {name for name in vars(metrics) if name.isupper() and not name.startswith("_")}
    files = (ROOT / "streams").rglob("*.py")
    used = {name for file in files for name in re.findall(r"metrics\.([A-Z_]+)", file.read_text())}

    assert declared == used


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("ClickHouse", {"datafolder.py"}),
        ("Cluster", {"sections.py"}),
        ("AIOKafkaConsumer", {"transport.py", "replaying.py"}),
        ("AIOKafkaProducer", set()),
    ],
)
def test_connections_are_made_with_all_that_the_settings_say(what: str, where: set[str]) -> None:
    """Made somewhere else, of an address alone, they would have no login and trust nobody's certificate."""
    making = re.compile(rf"(?<!class )\b{what}\((?!\))")

    assert {file.name for file in (ROOT / "streams").rglob("*.py") if making.search(file.read_text())} == where
