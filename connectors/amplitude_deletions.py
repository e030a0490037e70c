"""Amplitude's User Privacy API: having all data of users deleted.

Source: Amplitude's "User Privacy API" page (version 1). Deleting is a job that begins days later; Amplitude tells the
project's administrators by mail.
"""

from collections.abc import Sequence
from typing import Any

import aiohttp

from connectors.errors import Fatal, Retry
from connectors.http import Client, error_for

HOSTS = {"us": "https://amplitude.com", "eu": "https://analytics.eu.amplitude.com"}
"""By the region of a project."""
MOST_USERS = 100
"""In one request."""

_PATH = "/api/2/deletions/users"
_ANSWER_SECONDS = 60.0
_ERRORS_FROM = 400


class AmplitudeDeletions(Client):
    """One project.

    Args:
        api_key: of the project.
        secret_key: of the project.
        url: of the host, one of HOSTS or another.
    """

    def __init__(self, api_key: str, secret_key: str, url: str) -> None:
        self._url = url.rstrip("/") + _PATH
        self._headers = {"Authorization": aiohttp.encode_basic_auth(api_key, secret_key)}

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=self._headers, timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS))

    async def delete(self, user_ids: Sequence[str], requester: str) -> str:
        """Have users deleted; those whom Amplitude does not know are passed over.

        Args:
            user_ids: at most MOST_USERS.
            requester: who asks, for Amplitude's own records.

        Returns:
            The day on which it begins, as Amplitude writes it; empty where nobody is known.

        Raises:
            Retry: Amplitude cannot now.
            Reject, Fatal: it will not; a key or the region is wrong.
        """
        # Of text, as Amplitude's own example has it.
        body = {"user_ids": list(user_ids), "requester": requester, "ignore_invalid_id": "true"}
        try:
            async with self._session.post(self._url, json=body, allow_redirects=False) as response:
                text = await response.text(errors="replace")
                if response.status >= _ERRORS_FROM:
                    raise error_for(response.status, text, response.headers, "Amplitude")
                if response.status != 200:  # noqa: PLR2004
                    raise Fatal(f"Amplitude answered {response.status}; check amplitude.region")
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Retry(f"Amplitude does not answer: {str(error) or type(error).__name__}") from error
        return _day(answer)


def _day(answer: Any) -> str:  # noqa: ANN401  any JSON
    """The day of a job, or the last of several."""
    jobs = answer if isinstance(answer, list) else [answer]
    return max((str(job.get("day") or "") for job in jobs if isinstance(job, dict)), default="")
