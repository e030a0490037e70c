"""Every event type of SendGrid's Event Webhook, declared once.

Topics, tables, DDL, the normalizer's lookups, `activity`, the README's table and the tests' parameters are derived from
EVENTS. A new event type is one row here and one sample payload in tests/samples.
Source: Twilio's "Event Webhook Reference" and payloads captured in the field, which contradict it in places.
"""

from dataclasses import dataclass, field

from schemas.columns import (
    ARGS,
    EMAIL,
    FLAG,
    INTEGER,
    LABEL,
    OPTIONAL_INTEGER,
    TAGS,
    TEXT,
    TIME,
    Column,
)


@dataclass(frozen=True, slots=True)
class EventType:
    """One value of `event`, and where its events go.

    Attributes:
        name: `event` as on the wire.
        meaning: one line for people.
        columns: all columns of its table.
        sql_name: its table's name, where that is not the wire name.
    """

    name: str
    meaning: str
    columns: tuple[Column, ...] = field(repr=False)
    sql_name: str = ""

    @property
    def table(self) -> str:
        """What people query."""
        return self.sql_name or self.name

    @property
    def topic(self) -> str:
        """The last part of its Kafka topic: the table's name, without the underscore that `_open` needs in SQL."""
        return self.table.lstrip("_")


COMMON = (
    Column("event_id", TEXT, computed=True),
    Column("user_id", TEXT, computed=True),
    Column("email", EMAIL),
    Column("event", LABEL),
    Column("timestamp", TIME),
    Column("received_at", TIME, computed=True),
    Column("sg_event_id", TEXT),
    Column("sg_message_id", TEXT),
    Column("smtp_id", TEXT, keys=("smtp-id",)),
    Column("category", TAGS),
    Column("custom_args", ARGS, computed=True),
)
"""The columns of every event table."""

_MARKETING = (
    Column("asm_group_id", INTEGER),
    Column("marketing_campaign_id", INTEGER),
    Column("marketing_campaign_name", TEXT),
    Column("marketing_campaign_version", TEXT),
    Column("marketing_campaign_split_id", INTEGER),
    Column("singlesend_id", TEXT),
    Column("singlesend_name", TEXT),
    Column("template_id", TEXT),
    Column("template_version_id", TEXT),
    Column("template_hash", TEXT),
    Column("sg_template_id", TEXT),
    Column("sg_template_name", TEXT),
    Column("sg_user_id", INTEGER),
    Column("mc_stats", TEXT),
    Column("phase_id", TEXT),
    Column("post_type", TEXT),
    Column("newsletter_id", TEXT, keys=("newsletter.newsletter_id",)),
    Column("newsletter_user_list_id", TEXT, keys=("newsletter.newsletter_user_list_id",)),
    Column("newsletter_send_id", TEXT, keys=("newsletter.newsletter_send_id",)),
    Column("nlvx_campaign_id", TEXT),
    Column("nlvx_campaign_split_id", TEXT),
    Column("nlvx_user_id", TEXT),
)
"""Which mail the event belongs to: any event of a message may carry them."""

_ATTEMPT = (
    Column("ip", TEXT),
    Column("tls", OPTIONAL_INTEGER),
    Column("cert_err", TEXT, keys=("cert_err", "cert_error")),
)
"""The connection to the receiving server; `ip` is SendGrid's side of it."""

_PERSON = (
    Column("ip", TEXT, of_recipient=True),
    Column("useragent", TEXT, of_recipient=True),
)
"""Who did it."""

_FEEDBACK = (
    Column("ip", TEXT),
    Column("useragent", TEXT),
)
"""Who reported it: the recipient's mail provider."""

_GROUP = (*_PERSON, Column("url", TEXT))

EVENTS = (
    EventType(
        "processed",
        "SendGrid accepted the message and will deliver it",
        (
            *COMMON,
            *_MARKETING,
            Column("pool_name", TEXT, keys=("pool.name",)),
            Column("pool_id", TEXT, keys=("pool.id",)),
            Column("send_at", TIME),
        ),
    ),
    EventType(
        "deferred",
        "the receiving server said: not now",
        (
            *COMMON,
            *_MARKETING,
            *_ATTEMPT,
            Column("response", TEXT),
            Column("reason", TEXT),
            Column("attempt", INTEGER),
            Column("domain", TEXT),
            Column("from", TEXT),
        ),
    ),
    EventType(
        "delivered",
        "the receiving server accepted the message",
        (*COMMON, *_MARKETING, *_ATTEMPT, Column("response", TEXT)),
    ),
    EventType(
        "bounce",
        "the receiving server refused the message; `type` tells `bounce` (for good) from `blocked` (this time)",
        (
            *COMMON,
            *_MARKETING,
            *_ATTEMPT,
            Column("type", LABEL),
            Column("reason", TEXT),
            Column("status", TEXT),
            Column("bounce_classification", LABEL),
        ),
    ),
    EventType(
        "dropped",
        "SendGrid did not try to deliver the message; `reason` says why",
        (*COMMON, *_MARKETING, Column("reason", TEXT), Column("status", TEXT), Column("type", LABEL)),
    ),
    EventType(
        "open",
        "the recipient, or a machine of theirs (`sg_machine_open`), opened the message",
        (*COMMON, *_MARKETING, *_PERSON, Column("sg_machine_open", FLAG), Column("sg_content_type", TEXT)),
        sql_name="_open",
    ),
    EventType(
        "click",
        "the recipient followed a link",
        (
            *COMMON,
            *_MARKETING,
            *_GROUP,
            Column("url_offset_index", OPTIONAL_INTEGER, keys=("url_offset.index",)),
            Column("url_offset_type", TEXT, keys=("url_offset.type",)),
            Column("sg_content_type", TEXT),
        ),
    ),
    EventType(
        "spamreport",
        "the recipient marked the message as spam",
        (*COMMON, *_MARKETING, *_FEEDBACK),
        sql_name="spam_report",
    ),
    EventType("unsubscribe", "the recipient left all mail", (*COMMON, *_MARKETING, *_PERSON)),
    EventType("group_unsubscribe", "the recipient left an unsubscribe group", (*COMMON, *_MARKETING, *_GROUP)),
    EventType("group_resubscribe", "the recipient joined an unsubscribe group again", (*COMMON, *_MARKETING, *_GROUP)),
    EventType(
        "account_status_change",
        "SendGrid suspended, banned or restored the sending account",
        (*COMMON, Column("type", LABEL)),
    ),
    EventType("unknown", "anything else SendGrid sends, whole in `raw`", (*COMMON, Column("raw", TEXT, computed=True))),
)

UNKNOWN = EVENTS[-1]

ACTIVITY = (
    *COMMON,
    Column("url", TEXT),
    Column("reason", TEXT),
    Column("response", TEXT),
    Column("status", TEXT),
    Column("type", LABEL),
    Column("bounce_classification", LABEL),
    Column("attempt", INTEGER),
    Column("ip", TEXT),
    Column("useragent", TEXT),
    Column("sg_machine_open", FLAG),
    Column("asm_group_id", INTEGER),
    Column("marketing_campaign_id", INTEGER),
    Column("marketing_campaign_name", TEXT),
    Column("singlesend_id", TEXT),
    Column("singlesend_name", TEXT),
)
"""The columns of `activity`, the union of all event tables: what funnels and dashboards need."""
