"""What the comparison with peers says, and what it does without a peer."""

import json

import pytest

from bench.peers import bento, environments
from bench.peers.comparison import Pair, table
from bench.peers.contenders import PEERS
from bench.peers.task import Task
from bench.pipeline import peer_names
from bench.processes import Cost
from bench.stage import Run
from schemas.events import EVENTS

TASK = Task("normalize", "127.0.0.1:9092", "sendgrid", "sendgrid.normalize", "", "")


def run(seconds: float, worker: float, engine: float) -> Run:
    return Run(1000, seconds, {"normalize": Cost(worker, 100), "ClickHouse": Cost(engine, 300)})


def test_the_table_has_medians_and_ratios_of_neighbouring_runs() -> None:
    peer, ours = run(0.1, 0.03, 0.01), run(0.05, 0.01, 0.01)
    slow = run(10, 3, 1)

    lines = table({("normalize", "bento"): [Pair(peer, ours), Pair(slow, slow), Pair(peer, ours)]})

    assert lines[-1] == "| normalize | bento | 10,000 | 20,000 | 2.00 | 40.0 | 20.0 | 0.50 | 10.0 | 10.0 | 100 | 100 |"


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_bento_makes_every_column_of_every_type(event: object) -> None:
    mapping = bento.mapping()
    literals = {line.split('"')[1]: line for line in mapping.splitlines() if line.startswith("  $topic == ")}

    assert isinstance(event, type(EVENTS[0]))
    for column in event.columns:
        assert f"{json.dumps(column.name)}: " in literals[event.topic] or f"root.{column.name} = " in mapping


def test_a_task_survives_the_way_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TASK.environment().items():
        monkeypatch.setenv(name, value)

    assert Task.read() == TASK


async def test_a_peer_that_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")

    with pytest.raises(environments.UnavailableError, match="no Go"):
        await PEERS["bento"].make()


def test_an_unknown_peer_is_named() -> None:
    assert peer_names("bento,faust") == ["bento", "faust"]
    with pytest.raises(Exception, match="unknown: flink"):
        peer_names("bento,flink")
