"""The sections of the settings: the only place that names a setting, its default and its meaning.

docs/configuration.md is made of them.
"""

import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from connectors.amplitude import HOSTS
from connectors.event_webhook import public_key
from connectors.kafka import Cluster, Mechanism, Protocol
from schemas.amplitude import Casing, CustomArgs
from schemas.events import EVENTS, EventType
from schemas.mail import MailRules, Rule, check_field, check_recipients
from schemas.mail_fields import FIELDS
from schemas.privacy import Action, Later, Rules
from schemas.tables import KEPT_AS
from schemas.topics import RAW_MAX_BYTES, SHARED

_RESERVED = frozenset({"default", SHARED, "information_schema", "system"})
"""No names for sources: ClickHouse's own databases, and the first part of the topics that belong to no source."""
_HEADERS_BYTES = 2**16


def _one_or_many(value: object) -> object:
    if isinstance(value, str):
        return [value] if value else []
    return value


def _none_empty(secrets: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not all(secret.get_secret_value() for secret in secrets):
        raise ValueError("expected no empty one in a list: it would let everybody in")
    return secrets


Secrets = Annotated[tuple[SecretStr, ...], BeforeValidator(_one_or_many), AfterValidator(_none_empty)]
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


class _Server(_Section):
    """An HTTP server of gridstream's own."""

    host: str
    port: Port
    certificate: str = Field("", description="PEM file of its certificate and those that signed it: https; empty: http")
    private_key: str = Field("", description="PEM file of the certificate's private key")

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if bool(self.certificate) != bool(self.private_key):
            raise ValueError("found one of certificate and private_key, expected both or neither")
        return self

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104  asked, not bound
        return f"{'https' if self.certificate else 'http'}://{host}:{self.port}"


class Ingress(_Server):
    """The HTTP server that takes webhooks."""

    host: str = Field("127.0.0.1", description="address to listen on; the production image sets 0.0.0.0")
    port: Port = Field(8080, description="port to listen on")
    processes: int = Field(1, gt=0, description="that share the port: one a core, where one is not enough")
    max_body_bytes: int = Field(
        5_242_880,
        gt=0,
        le=RAW_MAX_BYTES - _HEADERS_BYTES,
        description="a larger body is refused with 413; SendGrid's are below 1 MB",
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = Field(
        (), description="addresses or networks of proxies, whose X-Forwarded-For says where a request came from"
    )
    max_connections: int = Field(
        500,
        gt=0,
        description="of each process at once; beyond that those give way that have brought nothing, or take longest",
    )


class Kafka(_Section):
    """Where the data flows through."""

    bootstrap_servers: str = Field("", description="host:port, comma-separated; empty: the embedded Apache Kafka")
    embedded_port: Port = Field(9092, description="port of the embedded Apache Kafka")
    embedded_bytes: int = Field(
        10_737_418_240,
        ge=0,
        description="that the embedded Apache Kafka keeps at most; the oldest goes first, read or not. 0: no limit",
    )
    partitions: int = Field(4, gt=0, description="of each topic that gridstream makes: at most so many workers a role")
    replication_factor: int = Field(
        0, ge=0, description="of each topic that gridstream makes; 0: three, or as many as there are brokers"
    )

    security_protocol: Protocol = Field("PLAINTEXT", description="what the servers speak")
    sasl_mechanism: Mechanism = Field("PLAIN", description="how one logs in, with SASL_SSL or SASL_PLAINTEXT")
    username: str = Field("", description="who logs in")
    password: SecretStr = Field(SecretStr(""), description="of the user")
    ca_certificate: str = Field(
        "", description="PEM file of the authorities that signed the servers' certificates; empty: the system's"
    )

    @property
    def servers(self) -> str:
        """The bootstrap servers, whosever they are."""
        return self.bootstrap_servers or f"127.0.0.1:{self.embedded_port}"

    @property
    def cluster(self) -> Cluster:
        """Where it is, and how one gets in."""
        return Cluster(
            self.servers,
            self.security_protocol,
            self.sasl_mechanism,
            self.username,
            self.password.get_secret_value(),
            self.ca_certificate,
        )

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if self.security_protocol != "PLAINTEXT" and not self.bootstrap_servers:
            raise ValueError(
                f'found security_protocol = "{self.security_protocol}" without bootstrap_servers, '
                "expected them too: the embedded Kafka speaks PLAINTEXT to this machine only"
            )
        has_login = bool(self.username and self.password.get_secret_value())
        if self.security_protocol.startswith("SASL") != has_login:
            raise ValueError(
                f'found security_protocol = "{self.security_protocol}" {"with" if has_login else "without"} a login, '
                "expected username and password with SASL_SSL or SASL_PLAINTEXT, and only there"
            )
        return self


class Worker(_Section):
    """The processes that do the work."""

    metrics_host: str = Field(
        "127.0.0.1", description="address of a worker's /metrics and /health; the production image sets 0.0.0.0"
    )
    metrics_port: Port = Field(
        9464,
        description="of a worker started by hand, its further processes the next ports; 0: free ones, said in the log",
    )

    held_bytes: int = Field(
        134_217_728,
        gt=0,
        description="of records that a worker holds at most, in a store as Kafka packs them; the rest waits in Kafka",
    )
    stuck_seconds: float = Field(
        300, gt=0, description="a worker that makes no progress for so long, though there is work, is ended"
    )


class ClickHouse(_Section):
    """Where the rows end up."""

    url: SecretStr = Field(
        SecretStr(""), description="http(s)://user:password@host:8123; empty: the embedded ClickHouse engine"
    )
    ca_certificate: str = Field(
        "", description="PEM file of the authorities that signed the server's certificate; empty: the system's"
    )
    embedded_port: Port = Field(8123, description="port of the embedded engine's HTTP interface")
    timeout_seconds: float = Field(60, gt=0, description="what it does not answer within this is asked for again")
    cluster: str = Field(
        "", description="of ClickHouse servers, by its name in their `remote_servers`; empty: the one server of `url`"
    )

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: SecretStr) -> SecretStr:
        return _secret_http_url(url)

    @model_validator(mode="after")
    def _clusters_are_elsewhere(self) -> Self:
        if self.cluster and not self.url.get_secret_value():
            raise ValueError("expected url beside cluster: the embedded engine is one server")
        return self


class Dashboard(_Server):
    """The live page."""

    host: str = Field("127.0.0.1", description="address to listen on; another than this machine's needs a password")
    port: Port = Field(8081, description="port to listen on")
    password: SecretStr = Field(
        SecretStr(""), description="asked of whoever opens the page, the user name being any; empty: nobody is asked"
    )


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
    on_behalf_of: str = Field(
        "",
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$|^$",
        description="the subuser whose webhook it is, where api_key is its parent account's; objects need its own key",
    )
    email: Action = Field("keep", description="the recipient's address in events: keep, hash (keyed) or drop")
    ip: Action = Field("keep", description="the address of the recipient's device: keep, hash (keyed) or drop")
    useragent: Action = Field("keep", description="what the recipient's device says it is: keep, hash (keyed) or drop")
    url_query: Literal["keep", "drop"] = Field("keep", description="of links: what is behind `?` and `#`")
    retention_days: dict[str, Annotated[int, Field(gt=0)]] = Field(
        {}, description=f"how long rows are kept, by table: {', '.join(KEPT_AS)}. Others, and without it: for ever"
    )
    raw_retention_hours: float = Field(
        168, gt=0, description="how long a raw topic that gridstream makes keeps bodies, as they came"
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

    @field_validator("retention_days")
    @classmethod
    def _are_tables(cls, days: dict[str, int]) -> dict[str, int]:
        if unknown := set(days) - set(KEPT_AS):
            raise ValueError(f"expected any of {', '.join(KEPT_AS)}, and {', '.join(sorted(unknown))} is none")
        return days

    @model_validator(mode="after")
    def _rows_outlive_bodies(self) -> Self:
        # A body that is still there and has no row in deliveries would count as lost.
        least = int(self.raw_retention_hours / 24) + 2
        if short := [name for name in ("events", "mails") if self.retention_days.get(name, least) < least]:
            raise ValueError(
                f"expected at least {least} retention_days for {' and '.join(short)}, as raw_retention_hours is set"
            )
        return self

    @field_validator("public_keys")
    @classmethod
    def _are_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            public_key(key)
        return keys

    @property
    def rules(self) -> Rules:
        """What of an event is stored."""
        return Rules(self.email, self.ip, self.useragent, self.url_query)

    @property
    def is_open(self) -> bool:
        """Whether anybody may post to it."""
        return not self.password and not self.public_keys


class Contacts(_Section):
    """Where cohorts and audiences become SendGrid lists: one entry per destination account."""

    name: str = Field("default", pattern="^[a-z][a-z0-9_-]{0,62}$", description="path segment of the cohort webhook")
    source: str = Field("", description="whose api_url and database it uses, and whose api_key; empty: the first")
    api_key: ApiKey = Field(SecretStr(""), description="of its own, instead of the source's")
    secret: Secrets = Field(
        (),
        description="what the sender puts into the header X-Gridstream-Secret, or a list while it is being changed; "
        "empty: only on a loopback address",
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


class Privacy(_Section):
    """Personal data: what stands for it, and what becomes of people who are forgotten."""

    key: SecretStr = Field(
        SecretStr(""), description="what keyed hashes are made with; never change it. Empty: one in the data folder"
    )
    later_events: Later = Field(
        "drop", description="an event of somebody who was forgotten before it came: drop, pseudonymize or keep"
    )


class Segment(_Section):
    """Where Segment's clients may post: endpoints like those of its tracking API."""

    write_keys: Secrets = Field(
        (), description="basic-auth user names that are let in; empty: accepted on a loopback address only"
    )
    contacts: str = Field("", description="which [[contacts]] entry identifies and audiences go to; empty: the first")
    upsert_events: tuple[str, ...] = Field(
        (), description="track events that update the contact as an identify does, from traits, else from properties"
    )


class Amplitude(_Section):
    """Where a source's events also go; without api_key: nowhere."""

    source: str = Field("", description="whose events; empty: the first source")
    api_key: ApiKey = Field(SecretStr(""), description="of the Amplitude project; empty: off")
    secret_key: ApiKey = Field(SecretStr(""), description="of the project; `gridstream forget --amplitude` needs it")
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
