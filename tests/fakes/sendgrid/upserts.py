"""Adding and updating contacts: `PUT /v3/marketing/contacts` (facts 1)."""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Ids, Json, Refusal, Request, Route, invalid, strings
from tests.fakes.sendgrid.behaviour import Choices, Limits
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import IDENTIFIERS, RESERVED, Contact
from tests.fakes.sendgrid.fields import Fields
from tests.fakes.sendgrid.jobs import Job, Jobs
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.sendgrid.lists import Lists
from tests.fakes.sendgrid.rows import Row, RowCheck
from tests.fakes.server import Answer

_DATE = re.compile(r"\d{1,2}/\d{1,2}/\d{4}", re.ASCII)
_LONGEST_TEXT = 1000


class RowError(Exception):
    """A row that fails in the job while the others go on."""


class Upserts:
    """Queues rows, and writes them when their job is done."""

    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        choices: Choices,
        fields: Fields,
        lists: Lists,
        book: ContactBook,
        jobs: Jobs,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._choices = choices
        self._fields = fields
        self._lists = lists
        self._book = book
        self._jobs = jobs
        self._check = RowCheck(clock, choices, fields)

    def routes(self) -> Iterator[Route]:
        """One."""
        yield Route("PUT", "/v3/marketing/contacts", self._put, MARKETING, writes=True)

    def _put(self, request: Request) -> Answer:
        if len(request.call.content) > self._limits.upsert_bytes:
            raise invalid(None, f"the body is larger than {self._limits.upsert_bytes} bytes")
        body = request.json()
        rows = body.get("contacts")
        if not isinstance(rows, list) or not 1 <= len(rows) <= self._limits.upsert_rows:
            raise invalid("contacts", f"contacts must be an array of 1 to {self._limits.upsert_rows} contacts")
        list_ids = strings(body.get("list_ids") or [], "list_ids")
        for unknown in list_ids:
            if unknown not in self._lists.all:
                raise Refusal(self._choices.unknown_list_status, ("list_ids", f"list '{unknown}' does not exist"))
        self._refuse_bad_emails(rows)
        self._refuse_bad_rows(rows)

        def effect(job: Job) -> None:
            self._write(rows, list_ids, job)

        return self._jobs.start(self._choices.upsert_job_type, len(rows), effect)

    def _refuse_bad_emails(self, rows: Sequence[Json]) -> None:
        """The field's index is 0 whichever row it was: do not trust it (facts 1.4)."""
        bad = [email for row in rows if isinstance(row, dict) for email in self._check.bad_emails(row)]
        if bad and not self._choices.names_all_bad_emails:
            bad = bad[:1]
        if bad:
            message = self._choices.bad_email_message
            raise Refusal(400, *(("contacts[0].identifier", message.format(email=email)) for email in bad))

    def _refuse_bad_rows(self, rows: Sequence[Json]) -> None:
        faults: list[tuple[str | None, str]] = []
        for index, row in enumerate(rows):
            if not isinstance(row, dict):
                raise invalid(f"contacts[{index}]", "a contact must be an object")
            faults += [(f"contacts[{index}].{field}", message) for field, message in self._check.faults(row)]
            if self._choices.missing_identifiers == "request":
                try:
                    self._existing(row)
                except RowError as error:
                    faults.append((f"contacts[{index}].identifier", str(error)))
        if faults:
            raise Refusal(400, *faults)

    def _write(self, rows: Sequence[Row], list_ids: Sequence[str], job: Job) -> None:
        """Row by row, so that a later one of the same contact finds the earlier one written."""
        lists = frozenset(list_ids).intersection(self._lists.all)
        changed: dict[str, Contact] = {}
        for row in rows:
            try:
                old = self._existing(row)
                self._refuse_repeat(old, changed)
                contact = self._changed(old, row, lists)
            except RowError as error:
                job.errors.append((row, str(error)))
                continue
            if old is None:
                job.created += 1
            else:
                job.updated += 1
            self._book.actual.put(contact)
            changed[contact.id] = contact
        self._book.publish(list(changed.values()))

    def _refuse_repeat(self, contact: Contact | None, changed: Container[str]) -> None:
        if contact and contact.id in changed and self._choices.duplicate_rows == "error":
            raise RowError("duplicate contact in one request")

    def _existing(self, row: Row) -> Contact | None:
        """The contact that a row means.

        Raises:
            RowError: it means two, or lacks an identifier that the contact already has (facts 1.1).
        """
        given = _identifiers(row)
        found = [contact for kind, value in given.items() if (contact := self._book.actual.find(kind, value))]
        if not found:
            return None
        if len({contact.id for contact in found}) > 1:
            raise RowError("the identifiers belong to different contacts")
        lacking = [kind for kind in IDENTIFIERS if kind in found[0].fields and found[0].fields[kind] != given.get(kind)]
        if lacking:
            raise RowError("all identifiers of an existing contact are required: " + ", ".join(lacking))
        return found[0]

    def _changed(self, old: Contact | None, row: Row, lists: frozenset[str]) -> Contact:
        """What the row makes of a contact: what it leaves out stays as it was (facts 1)."""
        given = _identifiers(row)
        email = given.get("email", "")
        alternates = [each.lower() for each in row.get("alternate_emails") or ()]
        if email in alternates or len(set(alternates)) < len(alternates):
            raise RowError("email and alternate_emails must differ")
        if email in self._choices.errored_emails:
            raise RowError(self._choices.errored_emails[email])
        fields = given | {name: row[name] for name in row.keys() & RESERVED.keys() if row[name] is not None}
        if alternates:
            fields["alternate_emails"] = alternates
        custom = self._custom(row.get("custom_fields") or {})
        now = self._clock.now()
        if old:
            merged = {**old.fields, **fields}
            return replace(
                old,
                fields=old.fields if merged == old.fields else merged,
                custom={**old.custom, **custom},
                list_ids=old.list_ids | lists,
                updated_at=now,
            )
        most = self._limits.contacts
        if most is not None and len(self._book.actual.by_id) >= most:
            raise RowError(f"the account's limit of {most} contacts is reached")
        return Contact(self._ids.uuid(), fields, custom, lists, now, now)

    def _custom(self, values: dict[str, Json]) -> dict[str, Json]:
        """By field id. A field deleted since the row was queued is left out."""
        custom = {}
        for key, value in values.items():
            field = self._fields.custom.get(key) or self._fields.named(key)
            if field is None or value is None:
                continue
            if field.field_type == "Date" and not _is_date(value):
                raise RowError(f"custom field '{field.name}' is no date MM/DD/YYYY")
            if field.field_type == "Text" and len(value) > _LONGEST_TEXT:
                raise RowError(f"custom field '{field.name}' is longer than {_LONGEST_TEXT} characters")
            custom[field.id] = value
        return custom


def _identifiers(row: Row) -> dict[str, Json]:
    """Those that it has; an address in lower case (facts 1)."""
    given = {kind: row[kind] for kind in IDENTIFIERS if row.get(kind)}
    if "email" in given:
        given["email"] = given["email"].lower()
    return given


def _is_date(value: str) -> bool:
    """MM/DD/YYYY, or with one digit (facts 1.2)."""
    if not _DATE.fullmatch(value):
        return False
    try:
        datetime.strptime(value, "%m/%d/%Y").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
