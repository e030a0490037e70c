"""Mails from calls: a rule and a track call become the body of `POST /v3/mail/send`, or a refusal that says why not."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar

import orjson

from schemas.mail_fields import (
    FIELDS,
    MOST_BYTES,
    Recipient,
    UnfitError,
    is_blank,
    no_repeats,
    within_argument_bytes,
)
from schemas.paths import document, resolver, without_paths
from schemas.segment import Call

T = TypeVar("T")

_REQUIRED = ("template_id", "from", "to")
_RECIPIENTS = ("from", "to", "cc", "bcc", "reply_to")
_LATEST_MS = 72 * 3600 * 1000
"""SendGrid schedules nothing further ahead."""
_PROPERTIES = "$.properties"


class MailRefusedError(ValueError):
    """A call cannot become the mail that a rule wants; the message names rule, field and value.

    Args:
        rule: its name.
        field: as in the settings.
        reason: what was found there, and what is expected.
    """

    def __init__(self, rule: str, field: str, reason: object) -> None:
        super().__init__(f"rule {rule}: {field}: {reason}")


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent.

    Attributes:
        rule: the name of the rule that made it.
        template_id: SendGrid's.
        email: of the first recipient.
        body: of the request.
        due: from when on it is late, in milliseconds since 1970: the time of the call, or when it is to be sent.
    """

    rule: str
    template_id: str
    email: str
    body: bytes
    due: int


class Rule:
    """Turns track calls of one event into mails.

    Args:
        name: what it is called; with the id of a call's message it says which mail is which.
        event: of the calls.
        fields: as in the settings, checked by `check_field`: values and paths, by the names of mail_fields.FIELDS.
        max_age: seconds after which a mail is not sent any more; 0: never.
    """

    def __init__(self, name: str, event: str, fields: Mapping[str, object], max_age: float = 0) -> None:
        self.name = name
        self.event = event
        self.fields = {"dynamic_template_data": _PROPERTIES} | dict(fields)
        self.max_age_ms = max_age * 1000
        self._resolvers = {field: resolver(value) for field, value in self.fields.items()}

    def id_of(self, call: Call) -> str:
        """The id of the mail that a call becomes: the same whenever the call comes."""
        return blake2b(orjson.dumps([self.name, call.message_id]), digest_size=16).hexdigest()

    def mail(self, call: Call, user_id_key: str, now: int, *, is_asked: bool = False) -> Mail:
        """What a call becomes.

        Args:
            call: of the event.
            user_id_key: the custom argument that brings the user id back with the events of the mail.
            now: in milliseconds since 1970.
            is_asked: a person wants it sent now: no time is too long ago.

        Raises:
            MailRefusedError: SendGrid would not take it.
        """
        draft = _Draft(self.name, self._resolvers, document(call))
        recipients = draft.recipients()
        personalization = {**recipients, "dynamic_template_data": draft.get("dynamic_template_data") or {}}
        if headers := draft.get("headers"):
            personalization["headers"] = headers
        arguments = {"gridstream_rule": self.name, "gridstream_message_id": self.id_of(call)}
        arguments |= ({user_id_key: call.user_id} if call.user_id else {}) | (draft.get("custom_args") or {})
        personalization["custom_args"] = draft.checked("custom_args", within_argument_bytes, arguments)
        due = _happened(call)
        if (send_at := draft.get("send_at")) is not None:
            if not is_asked:
                draft.checked("send_at", self._schedulable, send_at, now, call.received_at)
            due = max(due, send_at)
            if send_at > now:
                personalization["send_at"] = send_at // 1000
        sender = draft.with_name("from", "from_name")
        body: dict[str, Any] = {
            "from": sender,
            "reply_to": draft.get("reply_to") or {"email": sender["email"]},
            "personalizations": [personalization],
            "template_id": draft.required("template_id"),
        }
        options = {
            "categories": draft.get("categories"),
            "asm": {"group_id": group_id} if (group_id := draft.get("group_id")) else None,
            "ip_pool_name": draft.get("ip_pool_name"),
            "mail_settings": {"sandbox_mode": {"enable": True}} if draft.get("sandbox") else None,
        }
        body |= {option: value for option, value in options.items() if value}
        content = bytes(memoryview(orjson.dumps(body)))  # copied: what orjson gives occupies 4 kB as long as it is kept
        draft.checked("dynamic_template_data", _sendable, content)
        return Mail(self.name, body["template_id"], recipients["to"][0]["email"], content, due)

    def is_late(self, mail: Mail, now: int) -> bool:
        """Whether it is too late to send a mail."""
        return 0 < self.max_age_ms < now - mail.due

    def _schedulable(self, at: int, now: int, received_at: int) -> None:
        """Check a time to send at.

        What has passed since the call was received is no fault of it: such a mail is sent at once, if it is not late.
        """
        if at > now + _LATEST_MS:
            raise UnfitError(at // 1000, "a time at most 72 hours ahead")
        if at // 1000 * 1000 < received_at // 1000 * 1000 - self.max_age_ms:
            raise UnfitError(at // 1000, "a time that was not past already when the call came, beyond max_age")


class MailRules:
    """All rules.

    Args:
        rules: in the order in which their mails are sent.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.all = tuple(rules)
        self._by_event: dict[str, tuple[Rule, ...]] = {}
        for rule in self.all:
            self._by_event[rule.event] = (*self._by_event.get(rule.event, ()), rule)

    def want(self, call: Call) -> bool:
        """Whether any of them turns a call into a mail."""
        return call.type == "track" and call.event in self._by_event

    def of(self, call: Call) -> Sequence[Rule]:
        """Those that turn a call into a mail, each into its own."""
        return self._by_event.get(call.event, ()) if call.type == "track" else ()


def check_field(field: str, value: object) -> None:
    """Check whatever of a field can be checked without a call.

    Raises:
        ValueError: what was found, and what is expected.
    """
    resolver(value)
    if field in _REQUIRED and (is_blank(value) or value == []):
        raise UnfitError(value or None, "a value: no mail goes without")
    known = without_paths(value)
    if field in _RECIPIENTS:
        known = _known_recipients(known)
    if not is_blank(known):
        FIELDS[field](known)


def check_recipients(*fields: object) -> None:
    """Check that no address is there twice among those that are known without a call.

    Args:
        fields: to, cc and bcc, each checked.

    Raises:
        UnfitError: one is.
    """
    known = (_known_recipients(without_paths(field)) for field in fields)
    no_repeats(*(FIELDS["to"](field) for field in known if not is_blank(field)))


def _known_recipients(known: object) -> object:
    """Without those whose address only a call knows."""
    if isinstance(known, list):
        return [member for member in known if _known_recipients(member) is not None]
    return None if isinstance(known, dict) and "email" in known and known["email"] is None else known


@dataclass(frozen=True, slots=True)
class _Draft:
    """A mail in the making: fields by the rule's values and the call's."""

    rule: str
    resolvers: Mapping[str, Callable[[Mapping[str, Any]], object]]
    call: Mapping[str, Any]

    def get(self, field: str) -> Any:  # noqa: ANN401  each field has its own type
        """What SendGrid takes; None where neither the rule nor the call says anything."""
        value = self.resolvers[field](self.call) if field in self.resolvers else None
        return (
            None if is_blank(value) and field != "dynamic_template_data" else self.checked(field, FIELDS[field], value)
        )

    def required(self, field: str) -> Any:  # noqa: ANN401
        if not (found := self.get(field)):
            raise MailRefusedError(
                self.rule, field, UnfitError(found or None, "a value: SendGrid sends nothing without")
            )
        return found

    def checked(self, field: str, check: Callable[..., T], *values: object) -> T:
        try:
            return check(*values)
        except UnfitError as error:
            raise MailRefusedError(self.rule, field, error) from None

    def with_name(self, field: str, name_field: str) -> Recipient:
        """The only one of a field, with the name that another field says."""
        found: Recipient = self.required(field)
        return found | ({"name": name} if (name := self.get(name_field)) else {})

    def recipients(self) -> dict[str, Any]:
        """To, cc and bcc; those that are empty are left out."""
        first, *others = self.required("to")
        name = self.get("to_name")
        groups = {
            "to": [first | ({"name": name} if name else {}), *others],
            "cc": self.get("cc") or [],
            "bcc": self.get("bcc") or [],
        }
        self.checked("to", no_repeats, *groups.values())
        return {kind: group for kind, group in groups.items() if group}


def _happened(call: Call) -> int:
    return call.timestamp if 0 < call.timestamp <= call.received_at else call.received_at


def _sendable(body: bytes) -> None:
    if len(body) >= MOST_BYTES:
        raise UnfitError(f"{len(body):,} bytes", f"a mail of less than {MOST_BYTES:,} bytes")
