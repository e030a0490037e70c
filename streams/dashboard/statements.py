"""What panels ask ClickHouse: one query each, over a source's counts or its tables."""

from collections.abc import Callable

from schemas.ddl import escaped
from schemas.events import EVENTS
from schemas.rollups import DIMENSIONS, HOUR, event_of, kinds
from schemas.tables import DELIVERIES, EVENT_TABLES, STORED_AT
from streams.dashboard.queries import Source, texts

LATEST = 50
"""Rows of a list of the latest events."""
_ROWS = 100
_GROUPS = 1_000
_HISTORY = 1_000
_NEW_SECONDS = 60
_ALL = tuple(name for event in EVENTS for name in kinds(event))
_STEPS = ("processed", "delivered", "open", "machine_open", "click")
_LEFT = ("unsubscribe", "group_unsubscribe")
_REFUSED = ("bounce", "blocked")
_MAIL = ("processed", "delivered", "open", "click", *_REFUSED, *_LEFT, "spamreport")
_COMPLAINTS = (*_LEFT, "group_resubscribe", "spamreport")
_DETAIL = "multiIf(url != '', url, reason != '', reason, response)"
_RATES = (
    ("Delivered", "delivered", "processed"),
    ("Bounced", "bounce", "processed"),
    ("Blocked", "blocked", "processed"),
    ("Dropped", "dropped", "processed"),
    ("Deferrals", "deferred", "processed"),
    ("Opened", "open", "delivered"),
    ("Clicked", "click", "delivered"),
    ("Unsubscribed", "unsubscribed", "delivered"),
    ("Spam reports", "spamreport", "delivered"),
)
"""Title, what is counted, and of what it is the share."""


def funnel(source: Source) -> str:
    """Messages by how far they came."""
    return (
        "SELECT event AS step, sum(count) AS messages\n"
        f"FROM ({source.totals(('processed', 'delivered'), ('open', 'machine_open', 'click'))})\n"
        f"GROUP BY step\nORDER BY indexOf([{texts(_STEPS)}], step)"
    )


def rates(source: Source) -> str:
    """What became of mail, as a share."""
    plain = ("processed", "delivered", *_REFUSED, "dropped", "deferred", *_LEFT, "spamreport")
    rows = ", ".join(f"({texts(rate)})" for rate in _RATES)
    return (
        "WITH sums AS (\nSELECT groupArray(what) AS names, groupArray(total) AS totals\nFROM (\n"
        f"SELECT if(event IN ({texts(_LEFT)}), 'unsubscribed', event) AS what, sum(count) AS total\n"
        f"FROM ({source.totals(plain, ('open', 'click'))})\nGROUP BY what\n)\n)\n"
        "SELECT rate.1 AS title, totals[indexOf(names, rate.2)] AS events, totals[indexOf(names, rate.3)] AS of,\n"
        "    if(of = 0, NULL, events / of) AS share\n"
        f"FROM sums ARRAY JOIN [{rows}] AS rate"
    )


def timeline(source: Source) -> str:
    """Events by kind and time."""
    dimension = "minute" if source.step < HOUR else "all"
    return (
        f"SELECT toUnixTimestamp(toStartOfInterval(time, toIntervalSecond({source.step}))) AS second, event,\n"
        f"    sum(count) AS events\nFROM ({source.counts(dimension, _ALL)})\n"
        "GROUP BY second, event\nORDER BY second, event"
    )


def top(dimension: str, event: str, column: str, count: str) -> Callable[[Source], str]:
    """The values of a dimension with the most events."""

    def sql(source: Source) -> str:
        return (
            f"SELECT value[1] AS {column}, sum(count) AS {count}\nFROM ({source.counts(dimension, (event,))})\n"
            f"GROUP BY value\nORDER BY {count} DESC, value\nLIMIT {_ROWS}"
        )

    return sql


def bounces(source: Source) -> str:
    """Bounces and blocks by what the receiving servers said."""
    return (
        "SELECT event AS type, if(value[1] = '', 'not classified', value[1]) AS classification,\n"
        "    value[2] AS reason, sum(count) AS bounces\n"
        f"FROM ({source.counts('cause', _REFUSED)})\n"
        f"GROUP BY event, value\nORDER BY bounces DESC, event, value\nLIMIT {_ROWS}"
    )


def domains(source: Source) -> str:
    """Receiving domains by deferrals, and what each says most often."""
    return (
        "SELECT domain, deferred, delivered, if(attempts = 0, 0, deferred / attempts) AS share, bounced, says FROM (\n"
        "SELECT value[1] AS domain, sumIf(count, event = 'deferred') AS deferred,\n"
        "    sumIf(count, event = 'delivered') AS delivered, deferred + delivered AS attempts,\n"
        f"    sumIf(count, event IN ({texts(_REFUSED)})) AS bounced\n"
        f"FROM ({source.counts('domain', ('deferred', 'delivered', *_REFUSED))})\n"
        f"GROUP BY domain\nORDER BY deferred DESC, delivered DESC, domain\nLIMIT {_ROWS}\n"
        ") AS domains\nLEFT JOIN (\n"
        "SELECT domain, argMax(answer, (answers, answer)) AS says FROM (\n"
        "SELECT value[1] AS domain, value[2] AS answer, sum(count) AS answers\n"
        f"FROM ({source.counts('answer', ('deferred',))})\nGROUP BY domain, answer)\n"
        "GROUP BY domain\n) AS answers USING domain\nORDER BY deferred DESC, delivered DESC, domain"
    )


def answers(source: Source) -> str:
    """What one domain's servers said."""
    return (
        f"SELECT value[2] AS answer, sum(count) AS deferrals\nFROM ({source.counts('answer', ('deferred',))})\n"
        "WHERE value[1] = {domain:String}\n"
        f"GROUP BY answer\nORDER BY deferrals DESC, answer\nLIMIT {_ROWS}"
    )


def by(dimension: str) -> Callable[[Source], str]:
    """What became of mail, by a dimension."""

    def sql(source: Source) -> str:
        return (
            "SELECT value[1] AS name, sumIf(count, event = 'processed') AS processed,\n"
            "    sumIf(count, event = 'delivered') AS delivered, sumIf(count, event = 'open') AS opens,\n"
            f"    sumIf(count, event = 'click') AS clicks, sumIf(count, event IN ({texts(_REFUSED)})) AS bounces,\n"
            f"    sumIf(count, event IN ({texts(_LEFT)})) AS unsubscribes,\n"
            "    sumIf(count, event = 'spamreport') AS spam\n"
            f"FROM ({source.counts(dimension, _MAIL)})\n"
            f"GROUP BY name\nORDER BY processed DESC, delivered DESC, name\nLIMIT {_GROUPS}"
        )

    return sql


def complaints(source: Source) -> str:
    """Who left or complained, the latest first."""
    rows = "\nUNION ALL\n".join(
        f"SELECT timestamp AS time, event, email, useragent AS detail FROM {source.table(event_of(name).table)}\n"
        f"WHERE {source.within()}"
        for name in _COMPLAINTS
    )
    return f"SELECT time, event, email, detail\nFROM (\n{rows}\n)\nORDER BY time DESC, email\nLIMIT {LATEST}"


def slowest(source: Source) -> str:
    """The deliveries that took longest."""
    return (
        "SELECT count AS wait, value[1] AS email, value[3] AS delivered, value[2] AS message\n"
        f"FROM ({source.counts('wait', ('delivered',))})\nORDER BY wait DESC, value\nLIMIT {DIMENSIONS['wait'].most}"
    )


def tail(source: Source) -> str:
    """Events, the latest first."""
    return (
        f"SELECT timestamp AS time, event, email, {_DETAIL} AS detail\nFROM {source.table('activity')}\n"
        f"WHERE {source.within()}\nORDER BY time DESC, received_at DESC, event_id\nLIMIT {LATEST}"
    )


def history(source: Source) -> str:
    """Everything about one person or message: message by message, the latest first."""
    # One column only, where that can be told: each has an index of its own to be read.
    by_email, by_id = "email = lower(trim({find:String}))", "(sg_message_id = {find:String} OR user_id = {find:String})"
    theirs = by_email if "@" in source.find else by_id
    # First the keys of all stored rows, then the exact rows by these: to unite repeats, ClickHouse would read whatever
    # lies beside what the index finds. Among 100 million events that takes 0.3 s of CPU instead of 1.2.
    tables = "|".join(table.rows for table in EVENT_TABLES.values())
    keys = f"SELECT timestamp, event_id FROM merge('{escaped(source.database)}', '^({tables})$') WHERE {theirs}"
    return (
        f"SELECT timestamp AS time, event, email, {_DETAIL} AS detail,\n"
        "    arrayStringConcat(category, ', ') AS categories, marketing_campaign_name AS campaign, useragent,\n"
        f"    sg_message_id AS message, received_at AS received\nFROM {source.table('activity')}\n"
        f"WHERE (timestamp, event_id) IN ({keys})\n    AND {theirs}\n"
        "ORDER BY if(message = '', time, max(time) OVER (PARTITION BY message)) DESC, message,\n"
        f"    time DESC, received DESC, event_id\nLIMIT {_HISTORY}"
    )


def freshness(source: Source) -> str:
    """What was stored just now, and how long that took."""
    rows = "\nUNION ALL\n".join(
        f"SELECT {STORED_AT.name} AS stored, received_at AS received FROM {source.table(table.rows)}\n"
        f"WHERE {STORED_AT.name} >= now64(3) - toIntervalSecond({_NEW_SECONDS})"
        for table in EVENT_TABLES.values()
    )
    return (
        f"SELECT count() / {_NEW_SECONDS} AS rate,\n"
        "    if(count() = 0, NULL, quantile(0.95)(toFloat64(stored) - toFloat64(received))) AS took,\n"
        f"    (SELECT if(count() = 0, NULL, max(received_at)) FROM {source.table(DELIVERIES.rows)}) AS latest\n"
        f"FROM (\n{rows}\n)"
    )


def letters(source: Source) -> str:
    """Dead letters that wait, by why."""
    return (
        "SELECT step, reason, count() AS letters, max(received_at) AS latest\n"
        f"FROM {source.table('dead_letters')}\nWHERE state = 'waiting'\n"
        f"GROUP BY step, reason\nORDER BY letters DESC, step, reason\nLIMIT {_ROWS}"
    )
