"""Membership changes: what cohort webhooks say, and the order in which it counts.

Source: Amplitude's cohort webhook (Cohorts › Sync › Webhook) in its default shape. A template of the customer's may
have reshaped it, so each fact is looked for under the names that templates use.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

import orjson

from schemas.columns import UncertainError, milliseconds

Action = Literal["enter", "exit"]

NO_LIST = ""
"""The cohort of changes that are about contacts, and no list."""

_ID_NAMES = ("cohort_id", "cohortId", "id")
_NAME_NAMES = ("cohort_name", "cohortName", "name")
_MEMBERSHIP_NAMES = ("in_cohort", "inCohort", "action", "operation", "event")
_TIME_NAMES = ("computed_time", "computedTime", "timestamp", "time")
_MESSAGE_NAMES = ("message_id", "messageId")
_USERS_NAMES = ("users", "members", "userIds", "user_ids", "items")
_USER_ID_NAMES = ("user_id", "userId", "id", "external_id")
_PROPERTIES_NAMES = ("user_properties", "userProperties", "properties", "traits")
_ENTER = frozenset({True, "true", "enter", "entered", "add", "added", "in", "1"})
_EXIT = frozenset({False, "false", "exit", "exited", "leave", "left", "remove", "removed", "out", "0"})
_BATCH_NUMBER = re.compile(r"::(\d+)$")
_MOST_BATCHES = 2**14
_DAY_MS = 24 * 3600 * 1000


class MissingFactsError(ValueError):
    """A body does not say what a membership change needs; the message names it."""


@dataclass(frozen=True, slots=True)
class CohortBatch:
    """People who enter, or who leave, one cohort.

    Attributes:
        account: the contacts entry it is for.
        received_at: when it came, in milliseconds since 1970.
        id: the cohort's; its list stays the same, whatever the cohort is called.
        name: what it is called at the moment.
        action: of all of them.
        computed_at: when the change was computed, in milliseconds since 1970.
        message_id: the same when the same batch comes again.
        users: user id and properties of each.
    """

    account: str
    received_at: int
    id: str
    name: str
    action: Action
    computed_at: int
    message_id: str
    users: Sequence[tuple[str, Mapping[str, Any]]]

    @property
    def version(self) -> int:
        """Where it stands in the order of changes: of two, the one with the higher version counts."""
        number = _BATCH_NUMBER.search(self.message_id)
        return version(self.computed_at, int(number[1]) if number else 0, self.action, self.message_id)

    @property
    def key(self) -> bytes:
        """As a record's key: all changes of one list go to one worker, in their order."""
        return list_key(self.account, self.id)

    def line(self) -> bytes:
        """As a record's value."""
        return orjson.dumps(self)

    @classmethod
    def of_line(cls, line: bytes) -> "CohortBatch":
        """From a record's value.

        Raises:
            ValueError: it is none.
        """
        try:
            return cls(**orjson.loads(line))
        except TypeError as error:
            raise ValueError(str(error)) from error


def contact_update(
    account: str, received_at: int, at: int, message_id: str, user_id: str, traits: Mapping[str, Any]
) -> CohortBatch:
    """News of one contact, whichever lists they are on: an entry into the list that is none."""
    return CohortBatch(
        account=account,
        received_at=received_at,
        id=NO_LIST,
        name="",
        action="enter",
        computed_at=at,
        message_id=message_id,
        users=[(user_id, traits)],
    )


def list_key(account: str, cohort: str) -> bytes:
    """What records about one list are keyed by."""
    return f"{account}:{cohort}".encode()


def version(computed_at: int, batch: int, action: Action, message_id: str) -> int:
    """A total order of changes that fits into 64 bits until the year 2109: by time, batch, action and message.

    Total, so that any repeat and any order of arrival end in the same state.
    """
    tie = blake2b(message_id.encode(), digest_size=1).digest()[0] >> 1
    return computed_at << 22 | min(batch, _MOST_BATCHES - 1) << 8 | (action == "exit") << 7 | tie


def cohort_batch(body: bytes, account: str, received_at: int) -> CohortBatch:
    """Read a cohort webhook's body.

    Args:
        body: as it came.
        account: the contacts entry it came for.
        received_at: when, in milliseconds since 1970: the time of a body that has none.

    Raises:
        MissingFactsError: it does not say which cohort, who, or whether they enter or leave.
    """
    document = _object(body)
    cohort_id = _text(_first(document, _ID_NAMES))
    action = _action(_first(document, _MEMBERSHIP_NAMES))
    users = _first(document, _USERS_NAMES)
    missing = [
        *(["cohort_id (text)"] if not cohort_id else []),
        *(["in_cohort (true or false; in a FreeMarker template: ${input.in_cohort?c})"] if not action else []),
        *(["users (a list)"] if not isinstance(users, list) else []),
    ]
    if missing or not action or not isinstance(users, list):
        raise MissingFactsError(f"the body lacks {', '.join(missing)}")
    shared = _first(document, _PROPERTIES_NAMES)
    return CohortBatch(
        account=account,
        received_at=received_at,
        id=cohort_id,
        name=_text(_first(document, _NAME_NAMES)) or cohort_id,
        action=action,
        computed_at=_time(_first(document, _TIME_NAMES), received_at),
        message_id=_text(_first(document, _MESSAGE_NAMES)) or blake2b(body, digest_size=16).hexdigest(),
        users=[_user(user, shared if isinstance(shared, dict) else {}) for user in users],
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MissingFactsError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise MissingFactsError("the body is not a JSON object")
    cohort = document.get("cohort")
    return {**cohort, **document} if isinstance(cohort, dict) else document


def _first(document: Mapping[str, Any], names: Sequence[str]) -> Any:  # noqa: ANN401  any JSON
    return next((document[name] for name in names if document.get(name) is not None), None)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _action(value: object) -> Action | None:
    key = value.strip().lower() if isinstance(value, str) else value
    if isinstance(key, list | dict) or key is None:
        return None
    return "enter" if key in _ENTER else "exit" if key in _EXIT else None


def _time(value: object, received_at: int) -> int:
    try:
        time = milliseconds(value)
    except UncertainError:
        return received_at
    # A time that is still to come would win over everything that is said until then.
    return time if 0 <= time <= received_at + _DAY_MS else received_at


def _user(user: object, shared: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(user, dict):
        return _text(user), shared
    properties = _first(user, _PROPERTIES_NAMES)
    given = properties if isinstance(properties, dict) else {}
    others = {name: value for name, value in user.items() if name not in (*_USER_ID_NAMES, *_PROPERTIES_NAMES)}
    return _text(_first(user, _USER_ID_NAMES)), {**shared, **others, **given}
