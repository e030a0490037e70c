"""How the ingress says no."""

import json

from aiohttp import web

RETRY_AFTER = {"Retry-After": "5"}
"""The header that has a sender come again."""


class Refusal(web.HTTPException):
    """An answer that is not a success, as JSON that says why."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        super().__init__(text=json.dumps({"error": reason}), content_type="application/json", headers=headers)
