"""An operator on a shift: what Prometheus would say of a pipeline, and what the runbooks say to do about it."""

import json
import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
import yaml
from prometheus_client import REGISTRY, Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.generated import ROOT
from tests.pipeline import Pipeline

_GROWING = ("gridstream_lag_", "gridstream_oldest_waiting_seconds")
"""Gauges that go on as counters do, as long as nothing is done about it."""
_SINCE_MINUTES = 30
"""What does not go on has been so for half an hour."""
_OPERATIONS = (ROOT / "docs/operations.md").read_text()


class Scrape(NamedTuple):
    """What the processes' metrics were, and when, in seconds."""

    series: dict[str, float]
    at: float


def runbook(alert: str) -> str:
    """What docs/operations.md says about an alert."""
    return re.sub(r"\s+", " ", _OPERATIONS.partition(f"### {alert}\n")[2].partition("\n### ")[0])


def _fits(metric: Metric, source: str) -> bool:
    return metric.name.startswith("gridstream_account") and any(
        sample.labels.get("source", source) == source for sample in metric.samples
    )


class Shift:
    """Watches a pipeline.

    Args:
        pipeline: that runs; the test takes its account, as its dashboard would.
        folder: for what Prometheus's tool reads.
    """

    def __init__(self, pipeline: Pipeline, folder: Path) -> None:
        self.pipeline = pipeline
        self._folder = folder

    async def scrape(self) -> Scrape:
        """The metrics of all processes, with the names that Prometheus adds."""
        found: dict[str, float] = {'up{job="loadbalancer"}': 1, 'up{job="dashboard"}': 1}
        for name, labels in (
            ("ingress", {"job": "ingress"}),
            *((role, {"job": "worker", "role": role}) for role in ("normalize", "store", "forward")),
        ):
            text = await self._metrics(name)
            found[_series("up", labels)] = bool(text)
            for metric in text_string_to_metric_families(text):
                for sample in metric.samples:
                    found[_series(sample.name, {**sample.labels, **labels})] = sample.value
        for metric in REGISTRY.collect():
            if _fits(metric, self.pipeline.source):
                for sample in metric.samples:
                    if sample.labels.get("source", self.pipeline.source) == self.pipeline.source:
                        found[_series(sample.name, {**sample.labels, "job": "dashboard"})] = sample.value
        return Scrape(found, time.monotonic())

    async def _metrics(self, process: str) -> str:
        if process not in self.pipeline.supervisor.pids:
            return ""
        lines = [json.loads(line) for line in self.pipeline.log(process).splitlines() if line.startswith("{")]
        ports = [line["port"] for line in lines if line["event"] == "listening"]
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{ports[-1]}/metrics") as answer,
            ):
                return await answer.text()
        except (aiohttp.ClientError, IndexError):
            return ""

    def fires(self, alert: str, before: Scrape, after: Scrape, quiet_hours: int = 0) -> bool:
        """Whether an alert fires once it has gone on for two hours as between two scrapes, and then been quiet."""
        minutes = 120
        values = {
            series: _values(series, before.series.get(series), after.series.get(series), after.at - before.at, minutes)
            for series in before.series | after.series
        }
        at = f"{minutes + quiet_hours * 60}m"
        expression = f'clamp_max(count(ALERTS{{alertname="{alert}", alertstate="firing"}}), 1)'
        case = {
            "interval": "1m",
            "input_series": [
                {"series": series, "values": value + (f" {_last(value)}x{quiet_hours * 60}" if quiet_hours else "")}
                for series, value in values.items()
            ],
            "promql_expr_test": [
                {"expr": expression, "eval_time": at, "exp_samples": [{"labels": "{}", "value": 1}]},
            ],
        }
        file = self._folder / f"{alert}.yml"
        rules = str(ROOT / "deploy/prometheus/alerts.yml")
        file.write_text(yaml.safe_dump({"rule_files": [rules], "evaluation_interval": "1m", "tests": [case]}))
        command = ["promtool", "test", "rules", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "got" in done.stdout + done.stderr or done.returncode == 0, done.stdout + done.stderr
        return done.returncode == 0

    async def runs(self, alert: str, command: str) -> str:
        """What a command says that the runbook of an alert names."""
        assert f"gridstream {command}" in runbook(alert), command
        _, output, errors = await self.pipeline.command(*shlex.split(command))
        return output + errors

    def reads(self, alert: str, service: str, process: str = "") -> str:
        """The log of a service that the runbook of an alert says to read."""
        assert re.search(rf"docker compose logs [^`]*\b{service}\b", runbook(alert)), service
        return self.pipeline.log(process or service)


def _series(name: str, labels: dict[str, str]) -> str:
    inside = ", ".join(f"{label}={json.dumps(value)}" for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}"


def _values(series: str, before: float | None, after: float | None, seconds: float, minutes: int) -> str:
    """A series as promtool writes them, a value a minute."""
    grows = re.search(r"_(total|bucket|count|sum)\{", series) or series.startswith(_GROWING)
    if grows and after is not None:
        step = max(0.0, (after - (before or 0)) * 60 / seconds)
        return f"{before or 0:f}+{step:f}x{minutes}"
    first = "_" if before is None else f"{before:f}"
    then = "_" if after is None else f"{after:f}"
    return f"{first}x{minutes - _SINCE_MINUTES} {then}x{_SINCE_MINUTES - 1}"


def _last(values: str) -> str:
    first, _, rest = values.partition("+")
    if rest:
        step, _, times = rest.partition("x")
        return f"{float(first) + float(step) * int(times):f}"
    return values.rsplit(maxsplit=1)[-1].partition("x")[0]
