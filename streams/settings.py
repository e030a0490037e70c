"""Settings: one file and the environment, read once at start and checked as a whole."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from connectors.errors import Fatal
from streams.sections import (
    Amplitude,
    ClickHouse,
    Contacts,
    Dashboard,
    Ingress,
    Kafka,
    Mail,
    Objects,
    Relay,
    Segment,
    Source,
    Worker,
)

PREFIX = "GRIDSTREAM_"
"""Of every environment variable that is a setting."""
DEFAULT_FILE = Path("gridstream.toml")


class _Environment(EnvSettingsSource):
    """Environment variables, of which `<NAME>_FILE` names a file that holds the value."""

    def __init__(self, settings: type[BaseSettings]) -> None:
        super().__init__(settings)
        self.env_vars = {name.lower(): value for name, value in _with_files(os.environ).items()}


class Settings(BaseSettings):
    """All settings."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False
    )

    ingress: Ingress = Ingress()
    kafka: Kafka = Kafka()
    worker: Worker = Worker()
    clickhouse: ClickHouse = ClickHouse()
    dashboard: Dashboard = Dashboard()
    sources: tuple[Source, ...] = (Source(),)
    contacts: tuple[Contacts, ...] = ()
    segment: Segment = Segment()
    mail: Mail = Mail()

    objects: Objects = Objects()

    amplitude: tuple[Amplitude, ...] = ()
    relays: tuple[Relay, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if not self.sources:
            raise ValueError("sources: expected at least one")
        for section, names in (
            ("sources", [entry.name for entry in self.sources]),
            ("contacts", [entry.name for entry in self.contacts]),
            ("amplitude", [entry.source or self.sources[0].name for entry in self.amplitude]),
            ("relays", [entry.label for entry in self.relays]),
        ):
            if len(set(names)) < len(names):
                raise ValueError(f"{section}: two have the same name ({', '.join(names)})")
        return self

    @model_validator(mode="after")
    def _sources_exist(self) -> Self:
        names = [source.name for source in self.sources]
        for section in ("contacts", "amplitude", "relays", "mail"):
            found = getattr(self, section)
            for entry in found if isinstance(found, tuple) else (found,):
                if entry.source and entry.source not in names:
                    raise ValueError(f"{section}.source: found {entry.source!r}, expected one of {', '.join(names)}")
        accounts = [entry.name for entry in self.contacts]
        if self.segment.contacts not in ("", *accounts):
            raise ValueError(
                f"segment.contacts: found {self.segment.contacts!r}, expected one of {', '.join(accounts) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _open_endpoints_stay_home(self) -> Self:
        if is_loopback(self.ingress.host):
            return self
        reason = f"ingress.host: {self.ingress.host} would let anybody post to"
        for source in self.sources:
            if source.is_open:
                raise ValueError(
                    f"{reason} the source {source.name}: "
                    'set its public_keys (Signed Event Webhook) or a password, or keep host = "127.0.0.1"'
                )
        for entry in self.contacts:
            if not entry.secret.get_secret_value():
                raise ValueError(f'{reason} the contacts {entry.name}: set their secret, or keep host = "127.0.0.1"')
        return self

    @model_validator(mode="after")
    def _page_stays_home(self) -> Self:
        if not is_loopback(self.dashboard.host) and not self.dashboard.password.get_secret_value():
            raise ValueError(
                f"dashboard.host: {self.dashboard.host} would show anybody who got which mail: "
                'set dashboard.password, or keep host = "127.0.0.1"'
            )
        return self

    def secrets(self) -> Iterator[str]:
        """Everything that nobody is to see: keys, passwords, and those in URLs."""
        return _secrets(self)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content comes as arguments."""
        return _Environment(settings_cls), init_settings

    @property
    def with_api_key(self) -> tuple[Source, ...]:
        """The sources whose objects can be pulled."""
        return tuple(source for source in self.sources if source.api_key.get_secret_value())

    def source(self, name: str = "") -> Source:
        """The source of a name; without one, the first.

        Raises:
            Fatal: there is none.
        """
        for source in self.sources:
            if name in ("", source.name):
                return source
        names = ", ".join(source.name for source in self.sources)
        raise Fatal(f"there is no source {name}; configured: {names}")

    @property
    def segment_contacts(self) -> Contacts | None:
        """The entry that identifies and audiences of Segment's clients go to, if there is any."""
        named = (entry for entry in self.contacts if self.segment.contacts in ("", entry.name))
        return next(named, None)

    @property
    def calls_source(self) -> Source:
        """The source in whose database calls are kept."""
        entry = self.segment_contacts
        return self.source(entry.source if entry else "")

    def with_key(self, public_key: str) -> Self:
        """The same, with one more verification key for the first source."""
        first, *others = self.sources
        signed = first.model_copy(update={"public_keys": (*first.public_keys, public_key)})
        return self.model_copy(update={"sources": (signed, *others)})


def load(file: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        file: without one, gridstream.toml in the working directory, if it is there.

    Raises:
        Fatal: a line for each thing that is wrong: its key, what was found, what is expected.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**_read(file))
    except SettingsError as error:
        raise Fatal(f"{str(error).partition(' from source ')[0]}, expected JSON: {error.__cause__}") from error
    except ValidationError as error:
        raise Fatal("\n".join(_line(details) for details in error.errors())) from error


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield text
        if password := urlsplit(text).password:
            yield from (password, unquote(password))
    elif isinstance(value, BaseModel):
        yield from _secrets(tuple(each for _, each in value))
    elif isinstance(value, tuple):
        for each in value:
            yield from _secrets(each)


def _read(file: Path | None) -> dict[str, Any]:
    if file is None and not DEFAULT_FILE.exists():
        return {}
    path = file or DEFAULT_FILE
    try:
        with path.open("rb") as content:
            return tomllib.load(content)
    except OSError as error:
        raise Fatal(f"the configuration cannot be read: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"{path} is not TOML: {error}") from error


def _with_files(environment: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name, value in environment.items():
        if name.startswith(PREFIX) and name.endswith("_FILE"):
            try:
                values[name.removesuffix("_FILE")] = Path(value).read_text().strip()
            except OSError as error:
                raise Fatal(f"{name}: {error}") from error
        else:
            values[name] = value
    return values


def _refuse_unknown_variables() -> None:
    known = [f"{PREFIX}{section}".upper() for section in Settings.model_fields]
    for name in os.environ:
        section = name.split("__")[0].removesuffix("_FILE")
        if name.startswith(PREFIX) and section not in known:
            raise Fatal(f"{name}: no such setting{_nearest(section, known)}")


def _nearest(name: str, known: list[str]) -> str:
    matches = get_close_matches(name, known, n=1, cutoff=0)
    return f"; the nearest is {matches[0]}" if matches else ""


def _line(details: ErrorDetails) -> str:
    path = [str(step) for step in details["loc"]]
    key = re.sub(r"\.(\d+)", r"[\1]", ".".join(path))
    if details["type"] == "extra_forbidden":
        return f"{key}: no such setting{_nearest(path[-1], _siblings(path))}"
    if details["type"] == "missing":
        return f"{key}: found nothing, expected a value"
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if details["type"] == "value_error" and not path:
        return message
    if message.startswith("found"):  # only a part of the value is wrong
        return f"{key}: {message}"
    expected = message if message.startswith("expected") else f"expected {message}"
    return f"{key}: found {_shown(path, details['input'])}, {expected}"


def _siblings(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for step in path[:-1]:
        if step in model.model_fields:
            annotation = model.model_fields[step].annotation
            model = next(kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type))
    return [field.alias or name for name, field in model.model_fields.items()]


def _shown(path: list[str], value: object) -> str:
    secret = any(step in ("password", "url", "secret", "api_key", "write_keys") for step in path)
    if secret or isinstance(value, list | tuple | dict):  # a secret may be inside
        return "a value that is not shown"
    return repr(value)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, which others cannot reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
