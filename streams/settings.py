"""Settings: one file and the environment, read once at start and checked as a whole.

The models below are the only place that names a setting, its default and its meaning; docs/configuration.md is made of
them.
"""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from connectors.amplitude import HOSTS
from connectors.errors import Fatal
from connectors.event_webhook import public_key
from schemas.amplitude import Casing, CustomArgs
from schemas.events import EVENTS, EventType
from schemas.mail import MailRules, Rule, check_field, check_recipients
from schemas.mail_fields import FIELDS
from schemas.topics import RAW_MAX_BYTES

PREFIX = "GRIDSTREAM_"
"""Of every environment variable that is a setting."""
DEFAULT_FILE = Path("gridstream.toml")

_RESERVED = frozenset({"default", "gridstream", "information_schema", "system"})
"""No names for sources: ClickHouse's own databases, and the first part of the topics that belong to no source."""
_HEADERS_BYTES = 2**16


def _one_or_many(value: object) -> object:
    if isinstance(value, str):
        return [value] if value else []
    return value


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_one_or_many)]
"""One secret, or several that are valid at once while one is being replaced."""
Port = Annotated[int, Field(ge=0, le=65535)]


def _is_http(url: str) -> str:
    if not re.match(r"https?://[^/]+", url):
        raise ValueError("expected http(s)://host")
    return url


def _trimmed(secret: SecretStr) -> SecretStr:
    return SecretStr(secret.get_secret_value().strip())


ApiKey = Annotated[SecretStr, AfterValidator(_trimmed)]
"""A key that somebody has pasted: spaces around it are none of it."""


def _secret_http_url(url: SecretStr) -> SecretStr:
    if url.get_secret_value() and not re.match(r"https?://[^/]+", url.get_secret_value()):
        raise ValueError("expected http(s)://user:password@host:port")
    return url


HttpUrl = Annotated[str, AfterValidator(_is_http)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Ingress(_Section):
    """The HTTP server that takes webhooks."""

    host: str = Field("127.0.0.1", description="address to listen on; the production image sets 0.0.0.0")
    port: Port = Field(8080, description="port to listen on")
    max_body_bytes: int = Field(
        5_242_880,
        gt=0,
        le=RAW_MAX_BYTES - _HEADERS_BYTES,
        description="a larger body is refused with 413; SendGrid's are below 1 MB",
    )


class Kafka(_Section):
    """Where the data flows through."""

    bootstrap_servers: str = Field("", description="host:port, comma-separated; empty: the embedded Apache Kafka")
    embedded_port: Port = Field(9092, description="port of the embedded Apache Kafka")
    partitions: int = Field(4, gt=0, description="of each topic that gridstream makes: at most so many workers a role")
    replication_factor: int = Field(
        0, ge=0, description="of each topic that gridstream makes; 0: three, or as many as there are brokers"
    )

    @property
    def servers(self) -> str:
        """The bootstrap servers, whosever they are."""
        return self.bootstrap_servers or f"127.0.0.1:{self.embedded_port}"


class Worker(_Section):
    """The processes that do the work."""

    metrics_port: Port = Field(
        9464,
        description="of a worker started by hand, its further processes the next ports; 0: free ones, said in the log",
    )

    held_bytes: int = Field(
        134_217_728,
        gt=0,
        description="of records that a worker holds at most; what waits beyond that, waits in Kafka",
    )
    stuck_seconds: float = Field(
        300, gt=0, description="a worker that makes no progress for so long, though there is work, is ended"
    )


class ClickHouse(_Section):
    """Where the rows end up."""

    url: SecretStr = Field(
        SecretStr(""), description="http(s)://user:password@host:8123; empty: the embedded ClickHouse engine"
    )
    embedded_port: Port = Field(8123, description="port of the embedded engine's HTTP interface")
    timeout_seconds: float = Field(60, gt=0, description="what it does not answer within this is asked for again")

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        return _secret_http_url(url)


class Source(_Section):
    """One SendGrid account or subuser."""

    name: str = Field("sendgrid", description="path segment of its webhook, and its ClickHouse database")
    username: str = Field("", description="basic auth in the webhook's URL: https://USERNAME:PASSWORD@host/sendgrid")
    password: Secrets = Field((), description="text, or a list while a password is being changed")
    public_keys: tuple[str, ...] = Field(
        (), description="Signed Event Webhook verification keys; if any is set, an unsigned request is refused"
    )
    max_signature_age: float = Field(
        0, ge=0, description="seconds that a signed timestamp may be old; 0: any, as SendGrid names no window"
    )
    user_id_key: str = Field(
        "amp_user_id", description="the custom argument that holds the user id; without it, the email is it"
    )
    api_key: ApiKey = Field(SecretStr(""), description="SendGrid API key, for objects, contacts, mail and webhook")
    api_url: HttpUrl = Field(
        "https://api.sendgrid.com", description="of SendGrid's API; in the EU: https://api.eu.sendgrid.com"
    )

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name in _RESERVED:
            raise ValueError(
                "expected small letters, digits and underscores, a letter first, "
                f"and none of {', '.join(sorted(_RESERVED))}"
            )
        return name

    @field_validator("public_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            public_key(key)
        return keys

    @property
    def is_open(self) -> bool:
        """Whether anybody may post to it."""
        return not self.password and not self.public_keys


class Contacts(_Section):
    """Where cohorts and audiences become SendGrid lists: one entry per destination account."""

    name: str = Field("default", pattern="^[a-z][a-z0-9_-]{0,62}$", description="path segment of the cohort webhook")
    source: str = Field("", description="whose api_url and database it uses, and whose api_key; empty: the first")
    api_key: ApiKey = Field(SecretStr(""), description="of its own, instead of the source's")
    secret: SecretStr = Field(
        SecretStr(""),
        description="what the sender puts into the header X-Gridstream-Secret; empty: only on a loopback address",
    )
    flush_seconds: float = Field(60, gt=0, description="the cadence: how long changes are gathered")
    list_prefix: str = Field("", max_length=50, description="a list is named prefix + cohort name")
    email_trait: str = Field("email", description="trait that holds the address; else a user id that is one")
    first_name_trait: str = Field("first_name", description="trait that becomes the first name")
    last_name_trait: str = Field("last_name", description="trait that becomes the last name")
    user_id_field: str = Field("", description="SendGrid custom field that gets the user id")
    custom_fields: dict[str, str] = Field({}, description="trait name to SendGrid custom field name or id")
    match_custom_fields: bool = Field(
        default=True, description="a trait named like an existing custom field goes there by itself"
    )
    create_custom_fields: bool = Field(default=False, description="make the named custom fields that do not exist")

    def key(self, source: Source) -> str:
        """Its API key: its own, else its source's."""
        return self.api_key.get_secret_value() or source.api_key.get_secret_value()


class Objects(_Section):
    """Lists, segments, recipients, campaigns and the like, pulled from SendGrid for every source with an api_key."""

    every_seconds: float = Field(10_800, gt=0, description="how often they are pulled; sources take turns in between")


class Segment(_Section):
    """Where Segment's clients may post: endpoints like those of its tracking API."""

    write_keys: Secrets = Field(
        (), description="basic-auth user names that are let in; empty: accepted on a loopback address only"
    )
    contacts: str = Field("", description="which [[contacts]] entry identifies and audiences go to; empty: the first")


class Amplitude(_Section):
    """Where a source's events also go; without api_key: nowhere."""

    source: str = Field("", description="whose events; empty: the first source")
    api_key: ApiKey = Field(SecretStr(""), description="of the Amplitude project; empty: off")
    region: Literal["us", "eu"] = Field("us", description="of the project")
    url: HttpUrl | Literal[""] = Field("", description="instead of the region's host; the API's path is appended")
    events: tuple[str, ...] = Field((), description='wire names ("open", "spamreport"); empty: all')
    known_users_only: bool = Field(
        default=False, description="only events that carry user_id_key: each other address becomes a user in Amplitude"
    )
    casing: Casing = Field(
        "wire",
        description="of event names: [Sendgrid] spamreport (wire), Spamreport (capitalized), Spam Report (title)",
    )
    custom_args: CustomArgs = Field(
        "nested", description="custom arguments as one property custom_args (nested), or each as its own (flat)"
    )
    allowed_args: tuple[str, ...] = Field(
        (), description="custom arguments that go along; empty: all if nested. Each flat one is one of 2,000 names"
    )
    min_id_length: int = Field(
        1, gt=0, description="a shorter user id is none; Amplitude's own default, 5, would refuse ids such as 1234"
    )
    max_events: int = Field(
        1_000, gt=0, lt=2_000, description="in one request of live events; Amplitude advises 10 on its Starter plan"
    )

    @field_validator("events")
    @classmethod
    def _are_events(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = [event.name for event in EVENTS]
        if unknown := set(names) - set(known):
            raise ValueError(
                f"expected wire names, and {', '.join(sorted(unknown))} is none; known: {', '.join(known)}"
            )
        return names

    @property
    def key(self) -> str:
        """Its API key."""
        return self.api_key.get_secret_value().strip()

    @property
    def host(self) -> str:
        """The URL of the host that events go to."""
        return self.url or HOSTS[self.region]

    @property
    def is_on(self) -> bool:
        """Whether anything is forwarded."""
        return bool(self.key)

    def forwarded(self) -> list[EventType]:
        """The event types that go along."""
        return [event for event in EVENTS if not self.events or event.name in self.events]

    @model_validator(mode="after")
    def _flat_ones_are_listed(self) -> Self:
        if self.custom_args == "flat" and not self.allowed_args:
            raise ValueError('expected allowed_args beside custom_args = "flat": a project has 2,000 property names')
        return self


class Relay(_Section):
    """Where each POST of a source's webhook also goes, byte for byte: other consumers of the one Event URL."""

    name: str = Field(
        "", pattern="^[a-z0-9-]{0,40}$", description="in metrics, and of its consumer group; empty: made of its URL"
    )
    source: str = Field("", description="whose POSTs; empty: the first source")
    url: SecretStr = Field(SecretStr(""), description="http(s)://user:password@host/path; empty: off")
    hours: float = Field(24, gt=0, description="so long after its receipt a POST is tried, as SendGrid does")
    timeout_seconds: float = Field(10, gt=0, description="without an answer for so long, a POST is tried again")

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        return _secret_http_url(url)

    @property
    def is_on(self) -> bool:
        """Whether anything is relayed."""
        return bool(self.url.get_secret_value())

    @property
    def label(self) -> str:
        """Its name, or one made of its URL's host, which stays the same when the URL's password changes."""
        parts = urlsplit(self.url.get_secret_value())
        place = f"{parts.hostname}:{parts.port or ''}{parts.path}?{parts.query}"
        host = re.sub(r"[^a-z0-9]+", "-", parts.hostname or "")
        return self.name or f"{host[:40]}-{sha256(place.encode()).hexdigest()[:6]}"


class MailRule(_Section):
    """What turns a track call into a mail. Text that begins with `$.` is a path into the call."""

    event: str = Field(min_length=1, description="of the track call; of several rules of one event each sends its mail")
    name: str = Field("", description="what the rule is called; default: the event, its second rule `… (2)`")
    template_id: Any = Field(description="SendGrid's id `d-…`, or the text of a picker: `name - version [d-…]`")
    sender: Any = Field(alias="from", description="an address, or a table with `email` and `name`")
    from_name: Any = Field("", description="name beside `from`")
    to: Any = Field(description="an address, a table with `email` and `name`, or a list of these")
    to_name: Any = Field("", description="name beside the first of `to`")
    cc: Any = Field([], description="as `to`")
    bcc: Any = Field([], description="as `to`")
    reply_to: Any = Field("", description="as `from`; default: the same address")
    headers: Any = Field({}, description="table of further headers; values become text")
    custom_args: Any = Field({}, description="table of arguments that come back with the mail's events, as text")
    categories: Any = Field([], description="at most 10")
    group_id: Any = Field("", description="number of an unsubscribe group, or the text of a picker: `name [123]`")
    ip_pool_name: Any = Field("", description="IP pool that sends it")
    send_at: Any = Field("", description="ISO 8601 or seconds since 1970, at most 72 hours ahead; default: at once")
    max_age: float = Field(0, ge=0, description="seconds after which it is put aside instead of sent; 0: never")
    sandbox: Any = Field(default=False, description="SendGrid checks the mail and does not deliver it")
    dynamic_template_data: Any = Field(
        "$.properties", description="table of what the template's variables are; default: the event's properties"
    )

    @field_validator(*(set(FIELDS) - {"from"}), "sender")
    @classmethod
    def _is_what_sendgrid_takes(cls, value: object, info: ValidationInfo) -> object:
        check_field("from" if info.field_name == "sender" else str(info.field_name), value)
        return value

    @model_validator(mode="after")
    def _recipients_differ(self) -> Self:
        check_recipients(self.to, self.cc, self.bcc)
        return self

    @property
    def fields(self) -> dict[str, object]:
        """What is set, by the names of mail_fields.FIELDS."""
        values = self.model_dump(by_alias=True, exclude_unset=True)
        return {field: value for field, value in values.items() if field in FIELDS}


class Mail(_Section):
    """Mails that track calls of Segment's API send."""

    source: str = Field("", description="whose api_url and database it uses, and whose api_key; empty: the first")
    api_key: ApiKey = Field(SecretStr(""), description="of its own, instead of the source's")
    rules: tuple[MailRule, ...] = Field((), description="which calls send which mails")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [name for name, _ in self._named()]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"found two rules called {twice!r}, expected names that differ")
        return self

    def _named(self) -> Iterator[tuple[str, MailRule]]:
        events: Counter[str] = Counter()
        for rule in self.rules:
            events[rule.event] += 1
            count = events[rule.event]
            yield rule.name or (rule.event if count == 1 else f"{rule.event} ({count})"), rule

    def compiled(self) -> MailRules:
        """The rules, ready to be used."""
        return MailRules(Rule(name, rule.event, rule.fields, rule.max_age) for name, rule in self._named())

    def key(self, source: Source) -> str:
        """Its API key: its own, else its source's."""
        return self.api_key.get_secret_value() or source.api_key.get_secret_value()


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
        if _is_loopback(self.ingress.host):
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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
