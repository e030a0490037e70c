"""Bento, a pipeline in Go that is configured: its normalize half, with a mapping made of the declared event types.

Of the feed that the bench sends, the mapping makes the same rows as schemas.normalize: one record an element, in the
topic of its type, keyed by user id; columns by their names, times as text, all else in custom_args. It leaves out what
odd payloads need: a value of another type is left for ClickHouse to convert or to refuse, `timestamp` is seconds or
unknown, the name of an event is taken as it is, and a body that is no array of objects is an error. An element without
`sg_event_id` gets a hash of the whole element, not of what tells events apart.

Tried, on a busy machine, in CPU µs an event of the process. The mapping, beside 8 for parsing: 28 with all columns in
one literal; 40 with `without` and `filter`, which walk an element several times; 22 as it is, where one question
stands before the columns that few events have, and the receive time is made once for a body. All of it: 44 to 50 with
batches of 50 bodies at the input, 46 to 51 of 200; 35 to 36 without any batches, but then Kafka takes 9 to 23 instead
of 4 to 10; 37 to 43 with batches of 10,000 records at the output, 40 to 42 of 2,000 or 30,000. lz4, snappy and zstd, 4
or 64 batches in flight: no difference that chance does not make. Four threads on two cores: 45 to 49. GOGC=400 saves 2
and takes twice the memory.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from bench.peers.environments import binary
from bench.peers.task import Task
from schemas import topics
from schemas.columns import EMAIL, TAGS, TIME, Column
from schemas.events import COMMON, EVENTS, UNKNOWN, EventType

VERSION = "v1.20.0"
FILES = {
    "go.mod": f"module bench\n\ngo 1.26\n\nrequire github.com/warpstreamlabs/bento {VERSION}\n",
    # Only what is needed of it: `cmd/bento`, with clients for everything there is, takes much longer to build.
    "main.go": """package main

import (
	"context"

	_ "github.com/warpstreamlabs/bento/public/components/io"
	_ "github.com/warpstreamlabs/bento/public/components/kafka"
	_ "github.com/warpstreamlabs/bento/public/components/pure"
	"github.com/warpstreamlabs/bento/public/service"
)

func main() {
	service.RunCLI(context.Background())
}
""",
}
"""The program."""

_CORES = 2
_TIME_FORMAT = '"2006-01-02 15:04:05.000", "UTC"'
_UNKNOWN_TIME = '"1970-01-01 00:00:00.000"'
_FREQUENT = "asm_group_id"
_MILLISECONDS_FROM = 10**11
"""A number this large counts milliseconds."""
_MESSAGES = [event for event in EVENTS if any(column.name == _FREQUENT for column in event.columns)]
"""The types that tell of a message, not of an account."""
_RARE = [
    column
    for column in EVENTS[0].columns
    if column not in COMMON and column.name != _FREQUENT and all(column in event.columns for event in _MESSAGES)
]
"""Columns of all these types that few events have a value for."""


def command(task: Task) -> list[str]:
    """Write the configuration; returns what is to be run."""
    file = Path(task.folder) / "bento.json"
    file.write_text(json.dumps(_configuration(task)))
    return ["env", f"GOMAXPROCS={_CORES}", str(binary("bento")), "-c", str(file)]


def _configuration(task: Task) -> dict[str, object]:
    """As it serves this work best."""
    return {
        "http": {"enabled": False},
        "logger": {"level": "WARN"},
        "error_handling": {"strategy": "reject"},  # otherwise what a mapping fails on goes out as it is
        "input": {
            "kafka_franz": {
                "seed_brokers": [task.servers],
                "topics": [topics.raw(task.source)],
                "consumer_group": task.group,
                "auto_offset_reset": "earliest",
                "checkpoint_limit": 4096,
                "fetch_max_partition_bytes": "4MiB",
            }
        },
        "pipeline": {
            "threads": -1,
            "processors": [
                {"mapping": _receipt()},
                {"unarchive": {"format": "json_array"}},
                {"mapping": mapping()},
            ],
        },
        "output": {
            "kafka_franz": {
                "seed_brokers": [task.servers],
                "topic": f"{task.source}.events.${{! @topic }}",
                "key": "${! this.user_id }",
                "idempotent_write": True,
                "max_in_flight": 64,
                "batching": {"count": 10_000, "period": "50ms"},
                "max_buffered_records": 200_000,
                "compression": "lz4",
            }
        },
    }


def _receipt() -> str:
    return f"""let received_at = (@received_at.number() / 1000).ts_format({_TIME_FORMAT})
meta = deleted()
meta received_at = $received_at
"""


def mapping() -> str:
    """From an element, named `this`, to the record of its event; its topic becomes metadata."""
    rare = "\n".join(f"  root.{column.name} = {_value(column)}" for column in _RARE)
    any_rare = " || ".join(f"this.exists({json.dumps(key)})" for key in _outer(_RARE))
    return f"""let topic = match this.event {{
{_cases((json.dumps(event.name), json.dumps(event.topic)) for event in EVENTS if event is not UNKNOWN)}
  _ => {json.dumps(UNKNOWN.topic)}
}}
meta topic = $topic
root = match {{
{_cases((f"$topic == {json.dumps(event.topic)}", _row(event)) for event in EVENTS)}
}}
if {json.dumps([event.topic for event in _MESSAGES])}.contains($topic) && ({any_rare}) {{
{rare}
}}
"""


def _cases(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"  {pattern} => {result}" for pattern, result in pairs)


def _row(event: EventType) -> str:
    return f"{{{', '.join(f'{json.dumps(name)}: {value}' for name, value in _values(event))}}}"


def _values(event: EventType) -> Iterator[tuple[str, str]]:
    taken = ", ".join(json.dumps(key) for key in _outer(event.columns))
    for column in event.columns:
        if not column.computed and column not in _RARE:
            yield column.name, _value(column)
    yield "event_id", 'this.sg_event_id.not_empty() | this.format_json().hash("md5").encode("hex")'
    yield "user_id", 'this.amp_user_id.not_null().string().trim().not_empty() | this.email.lowercase().trim() | ""'
    yield "received_at", "@received_at"
    yield "custom_args", f"this.without({taken}).map_each(item -> {_text('item.value')})"
    if event is UNKNOWN:
        yield "raw", "this.format_json(no_indent: true).string()"


def _value(column: Column) -> str:
    value = " | ".join(map(_path, column.raw_keys))
    if column.type is EMAIL:
        value = f"{value}.lowercase().trim()"
    elif column.type is TAGS:
        value = f'(if {value}.type() == "string" {{ [{value}] }} else {{ {value} }})'
    elif column.name == "timestamp":
        return f"{value}.ts_format({_TIME_FORMAT}) | {_UNKNOWN_TIME}"
    elif column.type is TIME:
        number = f"{value}.number()"
        seconds = f"(if {number} >= {_MILLISECONDS_FROM} {{ {number} / 1000 }} else {{ {number} }})"
        value = f"{seconds}.ts_format({_TIME_FORMAT})"
    return f"{value} | deleted()"


def _path(key: str) -> str:
    return ".".join(["this", *(part if part.isidentifier() else json.dumps(part) for part in key.split("."))])


def _text(value: str) -> str:
    return f'if {value}.type() == "string" {{ {value} }} else {{ {value}.format_json(no_indent: true).string() }}'


def _outer(columns: Iterable[Column]) -> list[str]:
    """The keys of an element that columns take, or take something of."""
    return list(dict.fromkeys(key.partition(".")[0] for column in columns for key in column.raw_keys))
