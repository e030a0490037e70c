"""What a peer's process is to do, handed over in its environment."""

import os
from dataclasses import asdict, dataclass

_PREFIX = "BENCH_"


@dataclass(frozen=True, slots=True)
class Task:
    """The work of one process.

    Attributes:
        role: `normalize` or `store`.
        servers: of Kafka.
        source: whose topics and database.
        group: the consumer group to be in.
        clickhouse: its URL.
        folder: for files that are of no use afterwards.
    """

    role: str
    servers: str
    source: str
    group: str
    clickhouse: str
    folder: str

    def environment(self) -> dict[str, str]:
        """What a process reads it from."""
        return {_PREFIX + name.upper(): value for name, value in asdict(self).items()}

    @classmethod
    def read(cls) -> "Task":
        """The task of this process."""
        return cls(**{name: os.environ[_PREFIX + name.upper()] for name in cls.__dataclass_fields__})
