"""Every metric of every process, declared once."""

from prometheus_client import Counter, Gauge, Histogram

_OF_ONE = ["destination", "reason"]
_OF_OBJECTS = ["source", "object"]

REQUESTS = Counter("gridstream_requests", "HTTP requests answered by the ingress", ["source", "status"])
REQUEST_SECONDS = Histogram(
    "gridstream_request_seconds",
    "From a request's arrival to its answer",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
CROWDED_OUT = Counter("gridstream_crowded_out", "Connections that gave way to new ones: ingress.max_connections")
ACCEPTED_BYTES = Counter("gridstream_accepted_bytes", "Bodies that Kafka confirmed", ["source"])
BODIES = Counter("gridstream_bodies", "Raw records normalized", ["source"])
EVENTS = Counter("gridstream_events", "Events normalized and published", ["source", "event"])
ROWS = Counter("gridstream_rows", "Rows inserted, repeats included", ["source", "table"])
INSERT_ROWS = Histogram(
    "gridstream_insert_rows", "Rows of one insert", buckets=(1, 10, 100, 1e3, 5e3, 2e4, 5e4, 1e5, 2e5)
)
INSERT_SECONDS = Histogram("gridstream_insert_seconds", "Duration of one insert that ClickHouse confirmed")
FRESHNESS_SECONDS = Histogram(
    "gridstream_freshness_seconds",
    "From the receipt of the oldest event of an insert until its row can be queried",
    ["source"],
    buckets=(0.25, 0.5, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600),
)
DEAD_LETTERS = Counter("gridstream_dead_letters", "What was put aside", ["source", "step"])
RETRIES = Counter("gridstream_retries", "Attempts that an outside system could not serve just then", ["what"])
HELD_BYTES = Gauge("gridstream_held_bytes", "Bytes of records fetched and not yet acknowledged", ["group"])
LAG_RECORDS = Gauge(
    "gridstream_lag_records", "Records of its partitions that a worker has not processed", ["group", "topic"]
)
LAG_SECONDS = Gauge(
    "gridstream_lag_seconds", "How long ago the oldest record that a worker holds was published", ["group", "topic"]
)
ACCOUNT = Gauge(
    "gridstream_account_events", "The sums of `gridstream status`, as the dashboard last took them", ["source", "what"]
)
ACCOUNT_BALANCED = Gauge("gridstream_account_balanced", "1 where both sides of the account were equal", ["source"])
ACCOUNT_TAKEN = Gauge("gridstream_account_taken_seconds", "When the account was taken, in seconds since 1970")
DELIVERED = Counter("gridstream_delivered", "Events or POSTs that a destination took", ["destination"])
REFUSED = Counter("gridstream_refused", "Events or POSTs that a destination did not take: dead letters", _OF_ONE)
SKIPPED = Counter("gridstream_skipped", "Events that are not for a destination", _OF_ONE)
DELAYED = Gauge("gridstream_delayed", "Events or POSTs that wait in this process for a destination", ["destination"])
OLDEST_WAITING = Gauge(
    "gridstream_oldest_waiting_seconds", "Since when the oldest of them waits for a destination", ["destination"]
)
MAILS = Counter(
    "gridstream_mails", "What became of mails; one in doubt counts again when that is known", ["rule", "state"]
)
MAILS_WAITING = Gauge("gridstream_mails_waiting", "Mails that this process is about to send, or waits with")
MAIL_SECONDS = Histogram(
    "gridstream_mail_seconds",
    "From a call's receipt to SendGrid having its mail",
    ["rule"],
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 4 * 3600, 24 * 3600),
)
OBJECTS_PULLED = Counter("gridstream_objects_pulled", "Objects that syncs found in SendGrid", _OF_OBJECTS)
OBJECTS_CHANGED = Counter("gridstream_objects_changed", "Those that were new, changed or gone", [*_OF_OBJECTS, "how"])
SYNC_SECONDS = Histogram(
    "gridstream_sync_seconds",
    "Duration of one sync of one kind of object",
    _OF_OBJECTS,
    buckets=(0.25, 1, 2.5, 5, 15, 60, 300, 900, 1800, 3600, 3 * 3600),
)
SYNC_FAILURES = Counter("gridstream_sync_failures", "Syncs that left something undone", _OF_OBJECTS)
