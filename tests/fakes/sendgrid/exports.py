"""Exports of contacts: the only way to read all of them (facts 2.4)."""

import csv
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Literal

import orjson

from tests.fakes.clock import Clock, iso
from tests.fakes.sendgrid.api import Ids, Json, Request, Route, invalid, not_found, strings
from tests.fakes.sendgrid.behaviour import Choices, Limits, Timing
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import IDENTIFIERS, RESERVED, Contact
from tests.fakes.sendgrid.fields import Fields
from tests.fakes.sendgrid.files import Files
from tests.fakes.sendgrid.keys import MARKETING
from tests.fakes.sendgrid.lists import Lists
from tests.fakes.sendgrid.segments import Segments
from tests.fakes.server import Answer

_CHUNK = 1000
_MEGABYTE = 1_000_000
_LARGEST_FILE = 5000


@dataclass(slots=True)
class Export:
    """One export.

    Attributes:
        id: SendGrid's.
        list_ids: whose members are in it,
        segment_ids: and these ones'; with neither, everybody is.
        file_type: of its files.
        max_file_size: in megabytes.
        created_at: seconds since 1970.
        status: as SendGrid says it.
        message: why it failed.
        completed_at: seconds since 1970.
        contact_count: how many are in it.
        files: their names.
    """

    id: str
    list_ids: Sequence[str]
    segment_ids: Sequence[str]
    file_type: Literal["csv", "json"]
    max_file_size: int
    created_at: float
    status: Literal["pending", "ready", "failure"] = "pending"
    message: str = ""
    completed_at: float | None = None
    contact_count: int = 0
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """What becomes of an export that is yet to come.

    Attributes:
        seconds: how long it takes; None is as usual.
        failure: why it fails; empty where it does not.
    """

    seconds: float | None = None
    failure: str = ""


class Exports:
    """All exports.

    Attributes:
        all: by id.
        plans: what becomes of the next ones, the first first; without one, all goes well.
    """

    def __init__(
        self,
        clock: Clock,
        ids: Ids,
        timing: Timing,
        limits: Limits,
        choices: Choices,
        files: Files,
        fields: Fields,
        book: ContactBook,
        lists: Lists,
        segments: Segments,
    ) -> None:
        self.all: dict[str, Export] = {}
        self.plans: list[ExportPlan] = []
        self._clock = clock
        self._ids = ids
        self._timing = timing
        self._limits = limits
        self._choices = choices
        self._files = files
        self._fields = fields
        self._book = book
        self._lists = lists
        self._segments = segments

    def routes(self) -> Iterator[Route]:
        """Three."""
        path = "/v3/marketing/contacts/exports"
        yield Route("POST", path, self._create, MARKETING)
        yield Route("GET", path, self._list, MARKETING)
        yield Route("GET", path + "/{id}", self._get, MARKETING)

    def _create(self, request: Request) -> Answer:
        """No body exports everybody as CSV."""
        body = request.json(default={})
        list_ids = strings(body.get("list_ids") or [], "list_ids")
        segment_ids = strings(body.get("segment_ids") or [], "segment_ids")
        file_type = body.get("file_type", "csv")
        if file_type not in {"csv", "json"}:
            raise invalid("file_type", "file_type must be csv or json")
        for each in list_ids:
            if each not in self._lists.all:
                raise not_found(f"list '{each}' not found")
        for each in segment_ids:
            if each not in self._segments.all:
                raise not_found(f"segment '{each}' not found")
        new = Export(
            self._ids.uuid(),
            list_ids,
            segment_ids,
            self._choices.export_file_type or file_type,
            int(body.get("max_file_size", _LARGEST_FILE)),
            self._clock.now(),
        )
        self.all[new.id] = new
        plan = self.plans.pop(0) if self.plans else ExportPlan()
        seconds = self._timing.export if plan.seconds is None else plan.seconds
        self._clock.after(seconds, lambda: self._finish(new, plan.failure))
        return Answer(202, {"id": new.id, "_metadata": {"self": f"{request.call.origin}{request.call.path}/{new.id}"}})

    def _list(self, request: Request) -> Answer:
        return Answer(
            body={
                "result": [self._json(each, request) for each in self.all.values()],
                "_metadata": {"self": request.call.origin + request.call.path},
            }
        )

    def _get(self, request: Request) -> Answer:
        if request.id not in self.all:
            raise not_found("export not found")
        one = self.all[request.id]
        body = self._json(one, request)
        if one.completed_at is not None:
            body["completed_at"] = iso(one.completed_at)
        if one.status == "ready":
            body["contact_count"] = one.contact_count
            body["expires_at"] = iso((one.completed_at or 0.0) + self._timing.link)
            body["urls"] = [self._files.url(name, request.call.origin) for name in one.files]
        return Answer(body=body)

    def _json(self, one: Export, request: Request) -> dict[str, Json]:
        """`ID` and `Name` are capitalised (facts 2.4)."""
        kind = "list_export" if one.list_ids else "segment_export" if one.segment_ids else "contacts_export"
        lists, segments = self._lists.all, self._segments.all
        body: dict[str, Json] = {
            "id": one.id,
            "status": one.status,
            "created_at": iso(one.created_at),
            "updated_at": iso(one.completed_at or one.created_at),
            "export_type": kind,
            "lists": [{"ID": each, "Name": lists[each].name} for each in one.list_ids if each in lists],
            "segments": [{"ID": each, "Name": segments[each].name} for each in one.segment_ids if each in segments],
            "_metadata": {"self": f"{request.call.origin}/v3/marketing/contacts/exports/{one.id}"},
        }
        if one.message:
            body["message"] = one.message
        return body

    def _finish(self, one: Export, failure: str) -> None:
        """The files have the contacts as they are now; they are made at their download."""
        one.completed_at = self._clock.now()
        if failure:
            one.status, one.message = "failure", failure
            return
        contacts = self._chosen(one)
        one.status, one.contact_count = "ready", len(contacts)
        content = self._csv if one.file_type == "csv" else self._json_lines
        most = self._limits.export_file or len(contacts) or 1
        if one.max_file_size < _LARGEST_FILE:
            size = sum(map(len, content(contacts))) or 1
            most = min(most, max(1, len(contacts) * one.max_file_size * _MEGABYTE // size))
        for start in range(0, len(contacts) or 1, most):
            name = f"{one.id}-{len(one.files) + 1}.{one.file_type}" + ".gz" * self._choices.export_gzip
            maker = self._maker(content, contacts[start : start + most])
            one.files.append(self._files.add(name, maker, "binary/octet-stream", self._timing.link))

    def _chosen(self, one: Export) -> list[Contact]:
        if not one.list_ids and not one.segment_ids:
            return list(self._book.visible.by_id.values())
        chosen = {each.id: each for each in self._book.visible.on_lists(one.list_ids)}
        for segment_id in one.segment_ids:
            if segment_id in self._segments.all:
                chosen |= {each.id: each for each in self._segments.members(segment_id)}
        return list(chosen.values())

    def _maker(
        self, content: Callable[[Sequence[Contact]], Iterable[bytes]], contacts: Sequence[Contact]
    ) -> Callable[[], Iterable[bytes]]:
        is_gzip = self._choices.export_gzip
        return lambda: _gzip(content(contacts)) if is_gzip else content(contacts)

    def _csv(self, contacts: Sequence[Contact]) -> Iterator[bytes]:
        """Headers in upper case; no list_ids."""
        fields = list(self._fields.custom.values())
        names = ("alternate_emails", "created_at", "updated_at", *(each.name for each in fields))
        out = StringIO()
        writer = csv.writer(out)
        writer.writerow(name.upper() for name in ("contact_id", *IDENTIFIERS, *RESERVED, *names))
        for chunk in _chunks(contacts):
            for contact in chunk:
                writer.writerow(
                    [
                        contact.id,
                        *(contact.fields.get(name, "") for name in (*IDENTIFIERS, *RESERVED)),
                        ",".join(contact.fields.get("alternate_emails", ())),
                        iso(contact.created_at),
                        iso(contact.updated_at),
                        *(contact.custom.get(each.id, "") for each in fields),
                    ]
                )
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
        yield out.getvalue().encode()

    def _json_lines(self, contacts: Sequence[Contact]) -> Iterator[bytes]:
        """One object a line: `contact_id`, custom fields by name, no empty ones."""
        for chunk in _chunks(contacts):
            yield b"".join(orjson.dumps(self._line(contact), option=orjson.OPT_APPEND_NEWLINE) for contact in chunk)

    def _line(self, contact: Contact) -> dict[str, Json]:
        line = {"contact_id": contact.id} | {name: value for name, value in contact.fields.items() if value}
        if custom := self._fields.by_name(contact):
            line["custom_fields"] = custom
        return line | {"created_at": iso(contact.created_at), "updated_at": iso(contact.updated_at)}


def _chunks(contacts: Sequence[Contact]) -> Iterator[Sequence[Contact]]:
    return (contacts[start : start + _CHUNK] for start in range(0, len(contacts), _CHUNK))


def _gzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    compressor = zlib.compressobj(level=1, wbits=31)
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()
