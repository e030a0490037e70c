"""What every subcommand understands, and what it is made into."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from connectors.clickhouse import ClickHouse
from connectors.kafka import Admin
from streams.datafolder import DataFolder
from streams.settings import Settings, load

Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The settings; default: gridstream.toml, if there is one."),
]
Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder where `gridstream up` keeps everything.")]
DATA = Path("data")


@dataclass(frozen=True, slots=True)
class Installation:
    """The gridstream that a command is about.

    Attributes:
        settings: read.
        data: the folder of its embedded servers.
        arguments: that name the same installation to another command.
    """

    settings: Settings
    data: DataFolder
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, config: Path | None, data: Path) -> "Installation":
        """From the common options.

        Raises:
            Fatal: the settings are wrong.
        """
        arguments = ("--data", str(data), *(("--config", str(config)) if config else ()))
        return cls(load(config), DataFolder(data), arguments)

    def clickhouse(self) -> ClickHouse:
        """Its ClickHouse, to be entered.

        Raises:
            Fatal: as DataFolder.connection.
        """
        return self.data.connection(self.settings)

    def admin(self) -> Admin:
        """Its Kafka, to be entered."""
        return Admin(self.settings.kafka.cluster)
