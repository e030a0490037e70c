"""The sync of one account's objects: one kind after the other, whatever becomes of each."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import orjson
import structlog

from connectors.clickhouse import ClickHouse
from connectors.errors import GridstreamError
from connectors.http import UnauthorizedError
from connectors.sendgrid_objects import ForbiddenHereError, SendGridObjects
from schemas.columns import time_text
from schemas.ddl import identifier
from schemas.objects import OBJECTS, ObjectType
from schemas.tables import SYNCS
from streams import failpoints, metrics
from streams.clock import now
from streams.objects import access
from streams.objects.access import NoMarketingError
from streams.objects.calls import Calls, IncompleteError, LostError
from streams.objects.pulls import Puller
from streams.objects.staging import Counts, Staging
from streams.privacy.forgotten import Forgotten
from streams.sections import Source

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one kind of object.

    Attributes:
        object: its name.
        source: whose.
        started: in milliseconds since 1970,
        finished: as well; 0 while it runs.
        counts: what was found.
        error: what went wrong; empty where nothing did.
        note: what people should know though nothing went wrong.
    """

    object: str
    source: str
    started: int
    finished: int = 0
    counts: Counts = field(default_factory=Counts)
    error: str = ""
    note: str = ""


class ObjectSync:
    """Syncs the objects of one account.

    Args:
        source: whose.
        api: of the account, open.
        clickhouse: connected; it has the database.
        calls: make its calls.
        on_progress: told of each kind how many objects have come, and of how many where that is known.
        forgotten: about whom nothing is kept; None where nobody is.
    """

    def __init__(
        self,
        source: Source,
        api: SendGridObjects,
        clickhouse: ClickHouse,
        calls: Calls,
        on_progress: Callable[[str, int, int | None], None] = lambda *_: None,
        forgotten: Forgotten | None = None,
    ) -> None:
        self._forgotten = forgotten
        self._source = source
        self._api = api
        self._clickhouse = clickhouse
        self._calls = calls
        self._puller = Puller(api, calls, on_progress)

    async def run(self, names: Collection[str], on_outcome: Callable[[Outcome], None] = lambda _: None) -> None:
        """Sync some kinds of objects.

        Args:
            names: of the kinds.
            on_outcome: told what became of each.

        Raises:
            LostError: the sync is another worker's.
            Fatal, Reject: the outcome cannot be written.
        """
        for kind in OBJECTS:
            if kind.name in names:
                begun = Outcome(kind.name, self._source.name, started=now())
                await self._save(begun)
                ended = replace(await self._sync(kind, begun), finished=now())
                await self._save(ended)
                _measure(ended)
                on_outcome(ended)

    async def _sync(self, kind: ObjectType, outcome: Outcome) -> Outcome:
        try:
            of = (self._source.name, self._clickhouse, self._calls)
            async with Staging(kind, *of, outcome.started, self._forgotten) as staging:
                problem = ""
                try:
                    await self._puller.pull(staging)
                except IncompleteError as error:
                    problem = str(error)
                await failpoints.reach("before-publishing")
                counts = await staging.publish(is_complete=not problem)
                return replace(outcome, counts=counts, error=problem)
        except LostError:
            raise
        except Exception as error:  # noqa: BLE001  one that fails does not stop the others
            return await self._failed(outcome, error)

    async def _failed(self, outcome: Outcome, error: Exception) -> Outcome:
        try:
            if isinstance(error, ForbiddenHereError):
                error = await self._calls(
                    "asking for scopes", partial(access.explained, error, self._source, self._api)
                )
            elif isinstance(error, UnauthorizedError):
                await self._calls("asking for scopes", partial(access.scopes, self._source, self._api))
        except GridstreamError as better:
            error = better
        if isinstance(error, NoMarketingError):
            return replace(outcome, note=str(error))
        if not isinstance(error, GridstreamError):
            log.error("syncing objects failed", object=outcome.object, source=outcome.source, exc_info=error)
        return replace(outcome, error=str(error) or repr(error))

    async def _save(self, outcome: Outcome) -> None:
        row = {
            "object": outcome.object,
            "source": outcome.source,
            "started": time_text(outcome.started),
            "finished": time_text(outcome.finished),
            **asdict(outcome.counts),
            "error": outcome.error,
        }
        table = f"{identifier(self._source.name)}.{identifier(SYNCS.rows)}"
        await self._calls("inserting", partial(self._clickhouse.insert, table, [orjson.dumps(row)]))


def _measure(outcome: Outcome) -> None:
    of, counts = (outcome.source, outcome.object), outcome.counts
    metrics.OBJECTS_PULLED.labels(*of).inc(counts.pulled)
    for how, count in (("new", counts.new), ("changed", counts.changed), ("gone", counts.gone)):
        metrics.OBJECTS_CHANGED.labels(*of, how).inc(count)
    metrics.SYNC_SECONDS.labels(*of).observe((outcome.finished - outcome.started) / 1000)
    metrics.SYNC_FAILURES.labels(*of).inc(bool(outcome.error))
