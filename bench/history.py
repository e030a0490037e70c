"""Tables full of the past: 30 days of mail that end now, made by ClickHouse itself."""

from collections.abc import Iterator
from datetime import UTC, datetime

from connectors.clickhouse import ClickHouse
from schemas.ddl import identifier
from schemas.tables import EVENT_TABLES

DAYS = 30
_AT_ONCE = 500_000
"""Messages of one INSERT."""
_MESSAGE = """
    sipHash64(number) AS seed,
    {end:DateTime64(3)} - toIntervalMillisecond(toUInt64(({messages:UInt64} - number) * {apart:Float64})) AS accepted,
    concat(base64URLEncode(reinterpretAsString(seed)), 'aaaaaaaaaaa.recvd-67fdc7b4d6-wbpn9-1-',
        hex(toUInt32(toUnixTimestamp(accepted))), '-1A.0') AS message_sg_message_id,
    concat('person', toString(seed % 1000000)) AS local,
    ['gmail.example', 'gmail.example', 'gmail.example', 'outlook.example', 'yahoo.example', 'mail.example.org',
        concat('company', toString(seed % 20000), '.example')][seed % 7 + 1] AS domain,
    concat(local, '@', domain) AS address,
    [['receipt', 'shop'], ['password-reset'], ['newsletter'], [concat('topic-', toString(seed % 200))], []]
        [seed % 5 + 1] AS message_category,
    if(seed % 3 = 0, concat('Campaign ', toString(intDiv(number, 20000) % 1000)), '')
        AS message_marketing_campaign_name,
    seed % 10000 AS luck
"""
_LATER = "30000 + chance % 40000000"
_EVENTS = {
    "processed": (10_000, "0", {}),
    "deferred": (
        1_000,
        "2000 + chance % 60000",
        {
            "response": "concat('421 4.7.28 [198.51.100.', toString(chance % 250), '] Our system has detected an "
            "unusual rate of mail. ', lower(hex(chance)), ' - gsmtp')"
        },
    ),
    "delivered": (9_300, "1000 + if(luck < 900, 300000 + chance % 3000000, chance % 8000)", {}),
    "bounce": (
        400,
        "1000",
        {
            "type": "if(chance % 3 = 0, 'blocked', 'bounce')",
            "reason": "concat('550 5.1.1 <', address, '>: Recipient address rejected ', toString(chance % 12))",
            "bounce_classification": "['Invalid Address', 'Mailbox Unavailable', 'Reputation'][chance % 3 + 1]",
        },
    ),
    "dropped": (300, "500", {"reason": "['Bounced Address', 'Unsubscribed Address', 'Invalid'][chance % 3 + 1]"}),
    "open": (11_000, _LATER, {"sg_machine_open": "chance % 5 < 2", "useragent": "'Mozilla/5.0'"}),
    "click": (
        2_800,
        _LATER,
        {
            "useragent": "'Mozilla/5.0'",
            "url": "concat('https://shop.example.com/page/', toString(intDiv(chance, 10000) % 5000), "
            "'?utm_source=mail&m=', toString(number))",
        },
    ),
    "unsubscribe": (60, _LATER, {}),
    "group_unsubscribe": (60, _LATER, {}),
    "spamreport": (80, _LATER, {}),
}
"""By wire name: so many of 10,000 messages have one, so many milliseconds after SendGrid took it; its own columns."""
_PER_MESSAGE = sum(share for share, _, _ in _EVENTS.values()) / 10_000


def _fillings(source: str) -> Iterator[str]:
    for name, (share, delay, own) in _EVENTS.items():
        columns = {
            "event_id": f"concat(toString(number), '-{name}-', toString(copy))",
            "user_id": "address",
            "email": "address",
            "event": f"'{name}'",
            "timestamp": "at",
            "received_at": "at + toIntervalSecond(1)",
            "sg_event_id": f"concat(toString(number), '-{name}-', toString(copy))",
            "sg_message_id": "message_sg_message_id",
            "category": "message_category",
            "marketing_campaign_name": "message_marketing_campaign_name",
            **own,
        }
        yield (
            f"INSERT INTO {identifier(source)}.{identifier(EVENT_TABLES[name].rows)} ({', '.join(columns)})\n"
            f"SELECT {', '.join(f'{value} AS `{name}`' for name, value in columns.items())}\n"
            f"FROM (SELECT number, arrayJoin([0, 1]) AS copy, sipHash64(number, copy, '{name}') AS chance,\n"
            f"{_MESSAGE},\n"
            f"    accepted + toIntervalMillisecond({delay}) AS at FROM numbers({{first:UInt64}}, {{rows:UInt64}}))\n"
            f"WHERE chance % 10000 < {share} - copy * 10000 AND at < {{end:DateTime64(3)}}\n"
            "SETTINGS optimize_on_insert = 0"
        )


async def fill(clickhouse: ClickHouse, source: str, events: int) -> None:
    """Fill a source's event tables.

    Args:
        clickhouse: connected, with the right to write.
        source: whose.
        events: about so many.
    """
    messages = int(events / _PER_MESSAGE)
    parameters = {
        "end": datetime.now(UTC).replace(tzinfo=None),
        "messages": messages,
        "apart": DAYS * 86_400_000 / messages,
    }
    for first in range(0, messages, _AT_ONCE):
        rows = min(_AT_ONCE, messages - first)
        for statement in _fillings(source):
            await clickhouse.query(statement, {**parameters, "first": first, "rows": rows})
