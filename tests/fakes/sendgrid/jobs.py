"""Jobs on contacts: queued by a call, finished later (facts 1.3)."""

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import StringIO
from typing import Literal

from tests.fakes.clock import Clock, iso
from tests.fakes.sendgrid.api import Ids, Json, Request, Route, not_found
from tests.fakes.sendgrid.behaviour import Choices, Timing
from tests.fakes.sendgrid.contact import IDENTIFIERS
from tests.fakes.sendgrid.files import Files
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.server import Answer

Status = Literal["pending", "completed", "errored", "failed"]


@dataclass(slots=True)
class Job:
    """One job.

    Attributes:
        id: SendGrid's.
        job_type: an open set of words (facts 1.3).
        requested: rows or ids.
        started_at: seconds since 1970.
        is_readable: whether its state can be asked for.
        created: contacts that it made,
        updated: changed,
        deleted: and deleted or took off a list.
        errors: rows that failed, with the reason.
        status: as SendGrid says it.
        finished_at: seconds since 1970.
        errors_file: of the rows that failed.
    """

    id: str
    job_type: str
    requested: int
    started_at: float
    is_readable: bool
    created: int = 0
    updated: int = 0
    deleted: int = 0
    errors: list[tuple[Mapping[str, Json], str]] = field(default_factory=list)
    status: Status = "pending"
    finished_at: float | None = None
    errors_file: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a job that is yet to come.

    Attributes:
        seconds: how long it takes; None is as usual.
        fails: whether it fails as a whole, without any effect.
    """

    seconds: float | None = None
    fails: bool = False


class Jobs:
    """All jobs.

    Attributes:
        all: by id, the oldest first.
        plans: what becomes of the next ones, the first first; without one, all goes well.
    """

    def __init__(self, clock: Clock, ids: Ids, files: Files, timing: Timing, choices: Choices) -> None:
        self.all: dict[str, Job] = {}
        self.plans: list[Plan] = []
        self._clock = clock
        self._ids = ids
        self._files = files
        self._timing = timing
        self._choices = choices

    def start(
        self, job_type: str, requested: int, effect: Callable[[Job], None], *, is_readable: bool = True
    ) -> Answer:
        """Queue one, and answer with its id.

        Args:
            job_type: a word for it.
            requested: rows or ids.
            effect: what it does in the end: it counts in the job what it did.
            is_readable: whether its state can be asked for.
        """
        job = Job(self._ids.uuid(), job_type, requested, self._clock.now(), is_readable)
        self.all[job.id] = job
        plan = self.plans.pop(0) if self.plans else Plan()
        seconds = self._timing.of_job() if plan.seconds is None else plan.seconds
        self._clock.after(seconds, lambda: self._finish(job, None if plan.fails else effect))
        return Answer(202, {"job_id": job.id})

    def routes(self) -> Iterator[Route]:
        """One: they cannot be listed."""
        yield Route("GET", "/v3/marketing/contacts/imports/{id}", self._get, MARKETING)

    def _finish(self, job: Job, effect: Callable[[Job], None] | None) -> None:
        job.finished_at = self._clock.now()
        if effect is None:
            job.status = "failed"
            return
        effect(job)
        if not job.errors:
            job.status = "completed"
            return
        job.status = "failed" if len(job.errors) >= job.requested else "errored"
        content = _errors_csv(job)
        job.errors_file = self._files.add("errors.csv", lambda: [content], "text/csv", self._timing.link)

    def _get(self, request: Request) -> Answer:
        job = self.all.get(request.id)
        if job is None or not (job.is_readable or self._choices.removal_jobs_readable):
            raise not_found("import job not found")
        body: dict[str, Json] = {
            "id": job.id,
            "status": job.status,
            "job_type": job.job_type,
            "results": {"requested_count": job.requested},
            "started_at": iso(job.started_at),
        }
        if job.finished_at is not None:
            body["finished_at"] = iso(job.finished_at)
            body["results"] |= {
                "created_count": job.created,
                "updated_count": job.updated,
                "deleted_count": job.deleted,
                "errored_count": len(job.errors) if job.errors or job.status == "completed" else job.requested,
            }
        if job.errors_file:
            body["results"]["errors_url"] = self._files.url(job.errors_file, request.call.origin)
        return Answer(body=body)


def _errors_csv(job: Job) -> bytes:
    """The rows that failed. SendGrid does not say what this file looks like (facts 1.3)."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow([*IDENTIFIERS, "error"])
    for row, reason in job.errors:
        writer.writerow([*(row.get(kind, "") for kind in IDENTIFIERS), reason])
    return out.getvalue().encode()
