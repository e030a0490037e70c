"""Locked doors: Kafka with SASL over TLS, ClickHouse over TLS, and our own servers with certificates."""

import asyncio
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from connectors.clickhouse import ClickHouse
from connectors.embedded import jars
from connectors.embedded.kafka import Broker, new_cluster_id, prepare
from connectors.errors import Fatal, Retry
from connectors.kafka import Admin, Cluster, Mechanism, Producer
from connectors.tls import serving, trusting, trusting_only
from streams import embedded
from streams.datafolder import DataFolder
from streams.settings import Settings
from streams.supervisor import Program, Supervisor
from tests.certificates import Certificates, certificates
from tests.pipeline import running

_USER, _PASSWORD = "gridstream", "of the test"
_LOGIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required username="{_USER}" password="{_PASSWORD}"'
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def lock(broker: Broker, certified: Certificates) -> list[str]:
    """Have a broker speak SASL_SSL alone; the command that starts it."""
    command = prepare(broker, jars.jars(embedded.cache() / "jars"))
    listener = f"SASL_SSL://127.0.0.1:{broker.port}"
    file = Path(command[-1])
    settings = {
        "listeners": f"{listener},CONTROLLER://127.0.0.1:{broker.controller_ports[0]}",
        "advertised.listeners": listener,
        "inter.broker.listener.name": "SASL_SSL",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{_LOGIN} user_{_USER}="{_PASSWORD}";',
        "listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config": _SCRAM,
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": _SCRAM,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": certified.both,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": certified.authority,
    }
    with file.open("a") as properties:  # of two values of a key the last is the one
        properties.writelines(f"{key}={value}\n" for key, value in settings.items())
    shutil.rmtree(broker.folder / "log")  # users are made when it is formatted
    java = command[: command.index("-Xms128m")]
    storage = [*java, "kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(file)]
    users = [f"--add-scram=SCRAM-SHA-{bits}=[name={_USER},password={_PASSWORD}]" for bits in (256, 512)]
    subprocess.run([*storage, *users], check=True, capture_output=True)
    return command


@pytest.fixture(scope="module")
async def locked(certified: Certificates, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A real Kafka that lets nobody in without a login, over TLS."""
    broker = Broker(tmp_path_factory.mktemp("locked"), embedded.free_port(), (embedded.free_port(),))
    command = await asyncio.to_thread(lock, broker, certified)
    cluster = Cluster(f"127.0.0.1:{broker.port}", "SASL_SSL", "PLAIN", _USER, _PASSWORD, str(certified.authority))
    ready = partial(embedded.kafka_answers, cluster)
    async with Supervisor() as supervisor:
        await supervisor.start(Program("locked Kafka", command, ready, log=broker.folder / "broker.log"))
        yield cluster


def variables(cluster: Cluster, folder: Path) -> dict[str, str]:
    password = folder / "password"
    password.write_text(f"{cluster.password}\n")
    return {
        "GRIDSTREAM_KAFKA__SECURITY_PROTOCOL": cluster.protocol,
        "GRIDSTREAM_KAFKA__SASL_MECHANISM": cluster.mechanism,
        "GRIDSTREAM_KAFKA__USERNAME": cluster.username,
        "GRIDSTREAM_KAFKA__PASSWORD_FILE": str(password),
        "GRIDSTREAM_KAFKA__CA_CERTIFICATE": cluster.ca_certificate,
    }


class TestKafka:
    async def test_every_client_gets_in(
        self, locked: Cluster, servers: Settings, data: DataFolder, source: str, tmp_path: Path
    ) -> None:
        """The ingress's producer, Faust's consumers and producers, and what asks for offsets, groups and topics."""
        kafka: Any = {
            "bootstrap_servers": locked.servers,
            "security_protocol": locked.protocol,
            "username": locked.username,
            "password": locked.password,
            "ca_certificate": locked.ca_certificate,
        }
        there = Settings(kafka=kafka, clickhouse={"url": data.clickhouse_url(servers)})
        async with running(there, data, source, tmp_path, environment=variables(locked, tmp_path)) as pipeline:
            assert await pipeline.post(b'[{"event": "open"}]') == 200
            account = await pipeline.settled()
            assert (account.rows, account.balanced) == (1, True)
            for command in (("status",), ("doctor",), ("replay", "--since", "1h"), ("dead-letters", "list")):
                code, output, errors = await pipeline.command(*command)
                assert code == 0, output + errors
                assert _PASSWORD not in output + errors
            assert _PASSWORD not in "".join(pipeline.log(name) for name in ("ingress", "normalize", "store"))

    @pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
    async def test_by_each_mechanism(self, locked: Cluster, mechanism: Mechanism) -> None:
        cluster = Cluster(locked.servers, "SASL_SSL", mechanism, _USER, _PASSWORD, locked.ca_certificate)
        async with Admin(cluster) as admin:
            assert await admin.offsets([]) == {}
        async with Producer(cluster) as producer:
            await producer.ping()

    @pytest.mark.parametrize(
        "cluster",
        [
            lambda right: Cluster(right.servers, "SASL_SSL", "PLAIN", _USER, "wrong", right.ca_certificate),
            lambda right: Cluster(right.servers, "SASL_SSL", "SCRAM-SHA-512", _USER, "wrong", right.ca_certificate),
            lambda right: Cluster(right.servers, "SASL_SSL", "PLAIN", _USER, _PASSWORD),  # not of a public authority
        ],
        ids=["password", "SCRAM password", "authority"],
    )
    async def test_with_something_wrong_nobody_does(self, locked: Cluster, cluster: Any) -> None:
        with pytest.raises(Retry, match="cannot be reached"):
            async with Admin(cluster(locked)):
                pass

    def test_its_password_does_not_show(self, locked: Cluster) -> None:
        assert _PASSWORD not in repr(locked)


@asynccontextmanager
async def behind_tls(url: str, certified: Certificates) -> AsyncIterator[int]:
    """Ends TLS before a server: the port."""
    target = urlsplit(url)
    context = serving(str(certified.certificate), str(certified.private_key), "test")
    passing: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while some := await reader.read(1 << 16):
                writer.write(some)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        for each in (copy(reader, back), copy(there, writer)):
            task = asyncio.ensure_future(each)
            passing.add(task)
            task.add_done_callback(passing.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(passing):
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


class TestClickHouse:
    async def test_rows_go_over_tls_with_a_user(
        self, servers: Settings, data: DataFolder, source: str, tmp_path: Path, certified: Certificates
    ) -> None:
        url = data.clickhouse_url(servers)
        login = url.partition("//")[2].partition("@")[0]
        async with behind_tls(url, certified) as port:
            secure = f"https://{login}@127.0.0.1:{port}"
            environment = {"GRIDSTREAM_CLICKHOUSE__CA_CERTIFICATE": str(certified.authority)}
            async with running(
                servers, data, source, tmp_path, clickhouse_url=secure, environment=environment
            ) as pipeline:
                assert await pipeline.post(b'[{"event": "open"}]') == 200
                assert (await pipeline.settled()).rows == 1
                code, output, errors = await pipeline.command("sql", "SELECT 40 + 2 AS answer")
                assert (code, "42" in output) == (0, True), errors

    async def test_an_authority_that_nobody_knows_is_not_trusted(
        self, servers: Settings, data: DataFolder, certified: Certificates
    ) -> None:
        async with behind_tls(data.clickhouse_url(servers), certified) as port:
            with pytest.raises(Retry, match=r"(?i)certificate"):
                async with ClickHouse(f"https://u:p@127.0.0.1:{port}"):
                    pass

    async def test_a_file_of_authorities_that_cannot_be_used_is_named(self, tmp_path: Path) -> None:
        connection = ClickHouse("https://u:p@127.0.0.1:1", ca_certificate=str(tmp_path / "none.pem"))
        with pytest.raises(
            Fatal, match=re.escape(f"clickhouse.ca_certificate: {tmp_path}/none.pem cannot be used: No such")
        ):
            await connection.connect()


class TestOurServers:
    async def test_show_their_certificate(
        self, servers: Settings, data: DataFolder, source: str, tmp_path: Path, certified: Certificates
    ) -> None:
        page_port = embedded.free_port()
        environment = {
            "GRIDSTREAM_INGRESS__CERTIFICATE": str(certified.certificate),
            "GRIDSTREAM_INGRESS__PRIVATE_KEY": str(certified.private_key),
            "GRIDSTREAM_DASHBOARD__CERTIFICATE": str(certified.certificate),
            "GRIDSTREAM_DASHBOARD__PRIVATE_KEY": str(certified.private_key),
            "GRIDSTREAM_DASHBOARD__PORT": str(page_port),
        }
        trust = trusting(str(certified.authority), "test")
        async with running(servers, data, source, tmp_path, environment=environment) as pipeline:
            page = pipeline.process(
                "dashboard", ["dashboard"], partial(embedded.answers, f"https://127.0.0.1:{page_port}/health", trust)
            )
            await pipeline.supervisor.start(page)
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientConnectorCertificateError):
                    await session.get(f"{pipeline.base}/health")
                with pytest.raises(aiohttp.ClientError):
                    await session.get(f"http://127.0.0.1:{page_port}/health")
            code, _, errors = await pipeline.command("simulate", "--count", "10", "--rate", "0")
            assert code == 0, errors
            assert (await pipeline.settled()).rows
            code, output, _ = await pipeline.command("doctor")
            assert (code, f"ready at {pipeline.base}" in output.replace("\n", "")) == (0, True), output

    def test_speak_nothing_older_than_tls_1_2(self, certified: Certificates) -> None:
        context = serving(str(certified.certificate), str(certified.private_key), "ingress")

        assert context
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2

    def test_a_key_of_another_certificate_is_named(self, certified: Certificates, tmp_path: Path) -> None:
        other = certificates(tmp_path)
        with pytest.raises(Fatal, match=r"ingress\.private_key .* cannot be used"):
            serving(str(certified.certificate), str(other.private_key), "ingress")

    def test_without_a_certificate_there_is_nothing_to_show_or_trust(self) -> None:
        assert serving("", "", "ingress") is None
        assert trusting_only("") is None
