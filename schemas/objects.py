"""What SendGrid keeps besides events: each kind of object declared once.

Tables, DDL, rows, the documentation's table and the tests' parameters are derived from OBJECTS.
Source: SendGrid's OpenAPI descriptions, and what others have seen where these are silent.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.columns import (
    ARGS,
    DOCUMENT,
    EMAIL,
    FLAG,
    INTEGER,
    LABEL,
    TAGS,
    TEXT,
    TEXTS,
    TIME,
    Column,
    ColumnType,
    LostDigitsError,
    UncertainError,
    text,
)

Item = Mapping[str, Any]
"""An object as SendGrid shows it."""
Row = dict[str, Any]
"""What ClickHouse takes, by column; a column that is not there gets its default."""

RECEIVED_AT = Column("received_at", TIME, computed=True)
"""When this state of the object was first seen. A sync that finds it unchanged leaves it."""
IS_DELETED = Column("is_deleted", FLAG, computed=True)
"""Whether it is gone in SendGrid; its row stays as it was last."""


class _Cell(NamedTuple):
    """Where a key's value goes.

    Attributes:
        column: its name.
        type: of the column.
        path: into the value.
        is_substitute: whether it only counts where a better key has nothing.
    """

    column: str
    type: ColumnType
    path: tuple[str, ...]
    is_substitute: bool


_Shape = Mapping[str, Sequence[_Cell]]
"""The cells of each key."""


def _shape(columns: Iterable[Column]) -> _Shape:
    shape: dict[str, list[_Cell]] = {}
    for column in columns:
        for number, raw_key in enumerate(column.raw_keys):
            key, *path = raw_key.split(".")
            shape.setdefault(key, []).append(_Cell(column.name, column.type, tuple(path), number > 0))
    return shape


def _cells(item: Item, shape: _Shape) -> Row:
    row: Row = {}
    for key, whole in item.items():
        for column, type_, path, is_substitute in shape.get(key, ()):
            value = whole
            for step in path:
                value = value.get(step) if isinstance(value, Mapping) else None
            if value is None or (is_substitute and column in row):
                continue
            if type(value) is type_.exact:
                row[column] = value
            elif value != "":
                with suppress(UncertainError, LostDigitsError, TypeError, OverflowError, ValueError):
                    row[column] = type_.convert(value)
    return row


@dataclass(frozen=True, slots=True)
class ObjectType:
    """One kind of object.

    Attributes:
        name: its table's, and what `gridstream sync` calls it.
        meaning: one line for people.
        listed: columns that every page of all objects has; the first is the identity.
        detailed: columns that only the object by itself has.
        joined: columns that are known when everything has been pulled.
        content_marks: columns that tell whether the details may have changed.
        activities: columns that are the time of the last event of a type; our own, where SendGrid has no later one.
    """

    name: str
    meaning: str
    listed: tuple[Column, ...] = field(repr=False)
    detailed: tuple[Column, ...] = field(default=(), repr=False)
    joined: tuple[Column, ...] = field(default=(), repr=False)
    content_marks: tuple[str, ...] = ()
    activities: Mapping[str, str] = field(default_factory=dict)
    _own: "_Shape" = field(init=False, repr=False, compare=False)
    _joined: "_Shape" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_own", _shape((*self.listed, *self.detailed)))
        object.__setattr__(self, "_joined", _shape((self.listed[0], *self.joined)))

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns of its table."""
        return (*self.listed, *self.detailed, *self.joined, RECEIVED_AT, IS_DELETED)

    def row(self, item: Item) -> Row:
        """The row of an object, as far as the item tells.

        A value that its column certainly cannot hold is left out: SendGrid's mistakes do not stop a sync.

        Raises:
            ValueError: the item has no identity, so it cannot be kept.
        """
        row = _cells(item, self._own)
        if row.get(self.listed[0].name, "") == "":
            raise ValueError(f"one of the {self.name} has no {self.listed[0].raw_keys[0]}")
        return row

    def joined_row(self, item: Item) -> Row:
        """The row of what is joined to an object, by its identity."""
        return _cells(item, self._joined)


LISTS = ObjectType(
    "lists",
    "contact lists",
    (
        Column("id", TEXT),
        Column("name", TEXT),
        Column("contact_count", INTEGER),
        Column("recipient_count", INTEGER, keys=("contact_count",)),
    ),
)

SEGMENTS = ObjectType(
    "segments",
    "segments 2.0, with the query that makes them",
    (
        Column("id", TEXT),
        Column("name", TEXT),
        Column("contacts_count", INTEGER),
        Column("recipient_count", INTEGER, keys=("contacts_count",)),
        Column("created_at", TIME),
        Column("updated_at", TIME),
        Column("sample_updated_at", TIME),
        Column("next_sample_update", TIME),
        Column("parent_list_ids", TEXTS),
        Column("query_version", LABEL),
        Column("query_validation", LABEL, keys=("status.query_validation",)),
        Column("error_message", TEXT, keys=("status.error_message",)),
    ),
    detailed=(Column("query_dsl", TEXT),),
    content_marks=("updated_at",),
)

RECIPIENTS = ObjectType(
    "recipients",
    "all contacts, with the lists and segments they are in and their last activities",
    (
        Column("id", TEXT, keys=("contact_id", "id")),
        Column("email", EMAIL),
        Column("phone_number_id", TEXT),
        Column("external_id", TEXT),
        Column("anonymous_id", TEXT),
        Column("alternate_emails", TEXTS),
        Column("first_name", TEXT),
        Column("last_name", TEXT),
        Column("unique_name", TEXT),
        Column("address_line_1", TEXT),
        Column("address_line_2", TEXT),
        Column("city", TEXT),
        Column("state_province_region", TEXT),
        Column("country", TEXT),
        Column("postal_code", TEXT),
        Column("phone_number", TEXT),
        Column("whatsapp", TEXT),
        Column("line", TEXT),
        Column("facebook", TEXT),
        Column("custom_fields", ARGS),
        Column("created_at", TIME),
        Column("updated_at", TIME),
        Column("last_emailed", TIME),
        Column("last_opened", TIME),
        Column("last_clicked", TIME),
    ),
    joined=(
        Column("list_ids", TEXTS, computed=True),
        Column("segment_ids", TEXTS, computed=True),
    ),
    activities={"last_emailed": "delivered", "last_opened": "open", "last_clicked": "click"},
)

CAMPAIGNS = ObjectType(
    "campaigns",
    "Single Sends, with their content and what came of them",
    (
        Column("id", TEXT),
        Column("name", TEXT),
        Column("status", LABEL),
        Column("categories", TAGS),
        Column("send_at", TIME),
        Column("is_abtest", FLAG),
        Column("abtest", DOCUMENT),
        Column("created_at", TIME),
        Column("updated_at", TIME),
    ),
    detailed=(
        Column("send_to_all", FLAG, keys=("send_to.all",)),
        Column("list_ids", TEXTS, keys=("send_to.list_ids",)),
        Column("segment_ids", TEXTS, keys=("send_to.segment_ids",)),
        Column("subject", TEXT, keys=("email_config.subject",)),
        Column("html_content", TEXT, keys=("email_config.html_content",)),
        Column("plain_content", TEXT, keys=("email_config.plain_content",)),
        Column("generate_plain_content", FLAG, keys=("email_config.generate_plain_content",)),
        Column("design_id", TEXT, keys=("email_config.design_id",)),
        Column("editor", LABEL, keys=("email_config.editor",)),
        Column("suppression_group_id", INTEGER, keys=("email_config.suppression_group_id",)),
        Column("custom_unsubscribe_url", TEXT, keys=("email_config.custom_unsubscribe_url",)),
        Column("sender_id", INTEGER, keys=("email_config.sender_id",)),
        Column("ip_pool", LABEL, keys=("email_config.ip_pool",)),
    ),
    joined=tuple(
        Column(name, INTEGER, keys=(f"stats.{name}",))
        for name in (
            "requests",
            "delivered",
            "opens",
            "unique_opens",
            "clicks",
            "unique_clicks",
            "bounces",
            "bounce_drops",
            "invalid_emails",
            "spam_reports",
            "spam_report_drops",
            "unsubscribes",
        )
    ),
    content_marks=("updated_at",),
)

UNSUBSCRIBE_GROUPS = ObjectType(
    "unsubscribe_groups",
    "unsubscribe groups; `id` is `asm_group_id` of events",
    (
        Column("id", INTEGER),
        Column("name", TEXT),
        Column("description", TEXT),
        Column("is_default", FLAG),
        Column("unsubscribes", INTEGER),
        Column("last_email_sent_at", TIME),
    ),
)

SUPPRESSIONS = ObjectType(
    "suppressions",
    "who gets no mail and why: bounces, blocks, invalid emails, spam reports, unsubscribes, of all mail and of groups",
    (
        Column("id", TEXT),
        Column("type", LABEL),
        Column("email", EMAIL),
        Column("created", TIME, keys=("created", "created_at")),
        Column("reason", TEXT),
        Column("status", TEXT),
        Column("ip", TEXT),
        Column("group_id", INTEGER),
        Column("group_name", TEXT),
    ),
)

TEMPLATES = ObjectType(
    "templates",
    "templates, with the content of their active version",
    (
        Column("id", TEXT),
        Column("name", TEXT),
        Column("generation", LABEL),
        Column("updated_at", TIME),
        Column("version_id", TEXT, keys=("version.id",)),
        Column("version_name", TEXT, keys=("version.name",)),
        Column("version_updated_at", TIME, keys=("version.updated_at",)),
        Column("subject", TEXT, keys=("version.subject",)),
    ),
    detailed=(
        Column("html_content", TEXT, keys=("version.html_content",)),
        Column("plain_content", TEXT, keys=("version.plain_content",)),
    ),
    content_marks=("updated_at", "version_id", "version_updated_at"),
)

OBJECTS = (LISTS, SEGMENTS, CAMPAIGNS, UNSUBSCRIBE_GROUPS, SUPPRESSIONS, TEMPLATES, RECIPIENTS)
"""In the order in which they are synced: what takes long comes last."""

SUPPRESSION_TYPES = ("bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes")
"""As SendGrid's paths name them."""
GROUP_UNSUBSCRIBES = "group_unsubscribes"

_CONTACT_KEYS = {key for column in RECIPIENTS.listed for key in column.raw_keys} | {"list_ids", "segment_ids"}


def suppression(type_: str, entry: Item) -> Item:
    """An entry of a suppression list, with an identity: they have none, and an address may be on several."""
    marks = (type_, entry.get("group_id"), entry.get("email"))
    return {**entry, "type": type_, "id": "/".join(str(mark).lower() for mark in marks if mark is not None)}


def template(item: Item) -> Item:
    """A template with its active version, or else its latest, as `version`."""
    versions = [each for each in item.get("versions") or () if isinstance(each, Mapping)]
    chosen = max(versions, key=lambda each: (bool(each.get("active")), str(each.get("updated_at"))), default={})
    return {**item, "version": chosen}


def contact(record: Item, field_names: Mapping[str, str]) -> Item:
    """A record of an export, in whichever form.

    In JSON its custom fields are nested by name; in CSV they are columns like all others, and every header is in
    capital letters. What is neither SendGrid's own field nor a known custom one is kept as if it were custom.

    Args:
        record: as `export_files` reads it.
        field_names: of the custom fields, by themselves in small letters.
    """
    item: dict[str, Any] = {}
    custom: dict[str, str] = {}
    for key, value in record.items():
        small = key.lower()
        if small in _CONTACT_KEYS and small != "custom_fields":
            item[small] = value
        elif small == "custom_fields" and isinstance(value, Mapping):
            custom |= _texts(value.items())
        else:
            custom |= _texts([(field_names.get(small, key), value)])
    alternates = item.get("alternate_emails")
    if isinstance(alternates, str):
        item["alternate_emails"] = [each.strip() for each in alternates.split(",") if each.strip()]
    return {**item, "custom_fields": custom}


def contact_id(record: Item) -> str:
    """Whose a record of an export is; empty where it does not say."""
    return str(record.get("contact_id") or record.get("CONTACT_ID") or "")


def _texts(values: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {name: _as_text(value) for name, value in values if value not in (None, "")}


def _as_text(value: object) -> str:
    try:
        return text(value)
    except LostDigitsError:
        return repr(value)
