"""Sending mail: `POST /v3/mail/send` (facts 3)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Ids, Json, Refusal, Request, Route
from tests.fakes.sendgrid.rows import is_email
from tests.fakes.sendgrid.senders import Senders
from tests.fakes.sendgrid.suppressions import Suppressions
from tests.fakes.sendgrid.templates import Templates
from tests.fakes.server import Answer

RESERVED_HEADERS = frozenset(
    {
        "x-sg-id",
        "x-sg-eid",
        "received",
        "dkim-signature",
        "content-type",
        "content-transfer-encoding",
        "to",
        "from",
        "subject",
        "reply-to",
        "cc",
        "bcc",
    }
)
_MOST_RECIPIENTS = 1000
_MOST_ARGUMENT_BYTES = 10_000
_MOST_CATEGORIES = 10
_LONGEST_CATEGORY = 255
_LATEST_SECONDS = 72 * 3600
_MOST_SHOWN_GROUPS = 25
_LARGEST = 30_000_000
_POOL_NAME = range(2, 65)

Errors = list[tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted request.

    Attributes:
        message_id: as `X-Message-Id` said.
        body: as it came.
        at: seconds since 1970.
    """

    message_id: str
    body: Json
    at: float

    @property
    def recipients(self) -> list[str]:
        """All addresses it goes to, personalization by personalization."""
        return [
            each["email"]
            for personalization in self.body["personalizations"]
            for kind in ("to", "cc", "bcc")
            for each in personalization.get(kind, ())
        ]

    def event(self, event: str, at: float, recipient: int = 0, **fields: Json) -> dict[str, Json]:
        """What the Event Webhook says of it: with its custom arguments at the top level.

        Args:
            event: as on the wire: `delivered`.
            at: seconds since 1970.
            recipient: the index of the personalization; its first `to` is meant.
            fields: the event's own.
        """
        personalization = self.body["personalizations"][recipient]
        arguments = self.body.get("custom_args", {}) | personalization.get("custom_args", {})
        random = Random(f"{self.message_id} {event} {recipient} {at}")
        return {
            **arguments,
            "email": personalization["to"][0]["email"],
            "timestamp": int(at),
            "smtp-id": f"<{self.message_id}@geopod-ismtpd-1>",
            "event": event,
            "category": self.body.get("categories", []),
            "sg_event_id": f"{random.getrandbits(128):032x}"[:22],
            "sg_message_id": f"{self.message_id}.recvd-66d57cf7c9-x5sld-1-{int(at):X}-10.{recipient}",
            **fields,
        }


class MailSend:
    """Takes mails.

    Attributes:
        sent: those accepted for delivery,
        checked: and those of the sandbox mode.
    """

    def __init__(
        self, clock: Clock, ids: Ids, templates: Templates, suppressions: Suppressions, senders: Senders
    ) -> None:
        self.sent: list[Mail] = []
        self.checked: list[Mail] = []
        self._clock = clock
        self._ids = ids
        self._templates = templates
        self._suppressions = suppressions
        self._senders = senders

    def routes(self) -> Iterator[Route]:
        """It has been seen without rate-limit headers (facts 0); a rule of a test's brings them."""
        yield Route("POST", "/v3/mail/send", self._send, "mail.send", has_rate_limit=False)
        yield Route("POST", "/v3/mail/batch", self._batch, "mail.batch.create")

    def _batch(self, _: Request) -> Answer:
        return Answer(201, {"batch_id": self._ids.token()})

    def _send(self, request: Request) -> Answer:
        """202 and an empty body; 200 in sandbox mode, where nothing is delivered."""
        if len(request.call.content) > _LARGEST:
            raise Refusal(413, (None, "the message is larger than 30 MB"))
        body = request.json()
        errors = [*self._addressing(body), *self._content(body), *self._options(body)]
        if errors:
            raise Refusal(400, *errors)
        mail = Mail(self._ids.token(), body, self._clock.now())
        if body.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            self.checked.append(mail)
            return Answer(200)
        self.sent.append(mail)
        return Answer(202, headers={"X-Message-Id": mail.message_id})

    def _addressing(self, body: Mapping[str, Json]) -> Errors:
        personalizations = body.get("personalizations")
        if not isinstance(personalizations, list) or not 1 <= len(personalizations) <= _MOST_RECIPIENTS:
            return [("personalizations", "The personalizations field is required and must have 1 to 1000 entries.")]
        errors = _address_errors([body["from"]] if "from" in body else [], "from")
        if "from" not in body:
            errors.append(("from", "The from object must be provided for every email send."))
        if "reply_to" in body and "reply_to_list" in body:
            errors.append(("reply_to", "reply_to and reply_to_list cannot both be used."))
        if "reply_to" in body:
            errors += _address_errors([body["reply_to"]], "reply_to")
        total = 0
        for index, each in enumerate(personalizations):
            total += sum(len(each.get(kind, ())) for kind in ("to", "cc", "bcc"))
            errors += _personalization_errors(each, f"personalizations.{index}")
            errors += self._send_at(each, f"personalizations.{index}.send_at")
        if total > _MOST_RECIPIENTS:
            errors.append(("personalizations", "The total number of recipients must be at most 1000."))
        return errors

    def _content(self, body: Mapping[str, Json]) -> Errors:
        """A subject and content, or a template that may have them."""
        template_id = body.get("template_id")
        if template_id is not None:
            template = self._templates.all.get(template_id)
            return [] if template else [("template_id", "The template_id must be the id of a template.")]
        errors: Errors = []
        if not body.get("content"):
            errors.append(("content", "Unless a valid template_id is provided, the content parameter is required."))
        if not body.get("subject") and not all(each.get("subject") for each in body.get("personalizations") or ()):
            errors.append(("subject", "The subject is required."))
        return errors

    def _options(self, body: Mapping[str, Json]) -> Errors:
        errors = [*_header_errors(body, "headers"), *_argument_errors(body, "custom_args"), *_category_errors(body)]
        errors += self._send_at(body, "send_at")
        if "asm" in body:
            errors += self._group_errors(body["asm"])
        pool = body.get("ip_pool_name")
        if pool is not None and (len(pool) not in _POOL_NAME or pool not in self._senders.pools):
            errors.append(("ip_pool_name", "The ip_pool_name must be the name of an IP pool, of 2 to 64 characters."))
        settings = body.get("mail_settings", {})
        if not isinstance(settings.get("sandbox_mode", {}).get("enable", False), bool):
            errors.append(("mail_settings.sandbox_mode.enable", "The enable parameter must be a boolean."))
        bypasses = [name for name in settings if name.startswith("bypass_") and settings[name].get("enable")]
        if "bypass_list_management" in bypasses and len(bypasses) > 1:
            errors.append(("mail_settings", "bypass_list_management cannot be combined with other bypass flags."))
        return errors

    def _group_errors(self, asm: Json) -> Errors:
        group_id = asm.get("group_id")
        if not isinstance(group_id, int) or group_id not in self._suppressions.groups:
            return [("asm.group_id", "The group_id must be the id of an unsubscribe group.")]
        if len(asm.get("groups_to_display", ())) > _MOST_SHOWN_GROUPS:
            return [("asm.groups_to_display", "The groups_to_display must have at most 25 entries.")]
        return []

    def _send_at(self, body: Mapping[str, Json], path: str) -> Errors:
        """Unix seconds, at most 72 hours ahead; a time in the past sends at once."""
        at = body.get("send_at")
        if at is None:
            return []
        if not isinstance(at, int) or isinstance(at, bool):
            return [(path, "The send_at parameter must be an integer.")]
        if at > self._clock.now() + _LATEST_SECONDS:
            return [(path, "Scheduling more than 72 hours in advance is not permitted.")]
        return []


def _personalization_errors(one: Mapping[str, Json], path: str) -> Errors:
    errors: Errors = []
    if not one.get("to"):
        errors.append((f"{path}.to", "The to array is required for all personalization objects."))
    seen: set[str] = set()
    for kind in ("to", "cc", "bcc"):
        addresses = one.get(kind, [])
        errors += _address_errors(addresses, f"{path}.{kind}", is_list=True)
        for index, each in enumerate(addresses):
            email = str(each.get("email", "")).lower()
            if email in seen:
                errors.append((f"{path}.{kind}.{index}", "Each email address in the personalization must be unique."))
            seen.add(email)
    if "dynamic_template_data" in one and "substitutions" in one:
        errors.append((f"{path}.substitutions", "substitutions cannot be used with dynamic_template_data."))
    return errors + _header_errors(one, f"{path}.headers") + _argument_errors(one, f"{path}.custom_args")


def _address_errors(addresses: Sequence[Any], path: str, *, is_list: bool = False) -> Errors:
    errors: Errors = []
    for index, each in enumerate(addresses):
        where = f"{path}.{index}" if is_list else path
        if not isinstance(each, dict) or not isinstance(each.get("email"), str) or not is_email(each["email"]):
            errors.append((f"{where}.email", "Does not contain a valid address."))
        elif is_list and {";", ","}.intersection(each.get("name") or ""):
            errors.append((f"{where}.name", "The name cannot contain a semicolon or a comma."))
    return errors


def _header_errors(body: Mapping[str, Json], path: str) -> Errors:
    errors: Errors = []
    for name, value in body.get("headers", {}).items():
        if name.lower() in RESERVED_HEADERS:
            errors.append((f"{path}.{name}", "The header is reserved."))
        elif not name.isascii() or " " in name or not isinstance(value, str):
            errors.append((f"{path}.{name}", "Headers must have ASCII names without spaces, and string values."))
    return errors


def _argument_errors(body: Mapping[str, Json], path: str) -> Errors:
    if "custom_args" not in body:
        return []
    arguments = body["custom_args"]
    if not isinstance(arguments, dict) or not arguments:
        return [(path, "The custom_args must be an object that is not empty.")]
    if not all(isinstance(value, str) for value in arguments.values()):
        return [(path, "The values of custom_args must be strings.")]
    if sum(len(name.encode()) + len(value.encode()) for name, value in arguments.items()) > _MOST_ARGUMENT_BYTES:
        return [(path, "The custom_args must be at most 10,000 bytes.")]
    return []


def _category_errors(body: Mapping[str, Json]) -> Errors:
    categories = body.get("categories", [])
    if len(categories) > _MOST_CATEGORIES or len(set(categories)) < len(categories):
        return [("categories", "There must be at most 10 categories, each of them once.")]
    return [
        (f"categories.{index}", "A category must be at most 255 ASCII characters.")
        for index, each in enumerate(categories)
        if not isinstance(each, str) or len(each) > _LONGEST_CATEGORY or not each.isascii()
    ]
