"""Amplitude's cohort webhook, as it is documented."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def message(
    cohort: str,
    action: str,
    users: Sequence[str | tuple[str, Mapping[str, Any]]],
    *,
    name: str,
    computed_at: int,
    message_id: str,
) -> bytes:
    """The body of one message."""
    named = [(user, {}) if isinstance(user, str) else user for user in users]
    return json.dumps(
        {
            "cohort_name": name,
            "cohort_id": cohort,
            "in_cohort": action == "enter",
            "computed_time": str(computed_at),
            "message_id": message_id,
            "users": [{"user_id": user, "user_properties": properties} for user, properties in named],
        }
    ).encode()
