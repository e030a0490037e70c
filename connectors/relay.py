"""A consumer of SendGrid's Event Webhook, to which POSTs are passed on as SendGrid sent them."""

from io import BytesIO
from urllib.parse import unquote, urlsplit

import aiohttp

from connectors.errors import Retry
from connectors.event_webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER
from connectors.http import Client, error_for, redacted
from schemas.relay import Copy

_CONNECT_SECONDS = 5.0
_SHOWN = 200
_NAMES = {"content_type": "Content-Type", "signature": SIGNATURE_HEADER, "timestamp": TIMESTAMP_HEADER}
_AGENT = {"User-Agent": "SendGrid Event API (relayed by gridstream)"}
"""Begins as SendGrid's own, for a consumer that looks at it."""


class Consumer(Client):
    """One consumer.

    Args:
        url: that SendGrid would post to; with a user name and a password in it if need be.
        timeout: seconds after which an answer counts as lost.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        parts = urlsplit(url)
        self._secrets = (url, parts.password or "", unquote(parts.password or ""), parts.query)
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(timeout, _CONNECT_SECONDS))

    def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            timeout=self._timeout,
            headers=_AGENT,
            skip_auto_headers=["Content-Type"],
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def reach(self) -> int:
        """Ask whether somebody is there, without posting anything: the status of the answer, whichever it is.

        Raises:
            Retry: nobody answers.
        """
        try:
            async with self._session.head(self._url, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._silence(error) from error

    async def post(self, copy: Copy) -> None:
        """Pass on a POST.

        Raises:
            Retry: the answer was not a 2xx, or none; redirects are not followed, as SendGrid does not.
        """
        headers = {_NAMES[name]: value for name, value in copy.headers.items() if name in _NAMES}
        try:
            async with self._session.post(
                self._url, data=BytesIO(copy.body), headers=headers, allow_redirects=False
            ) as response:
                if response.status // 100 != 2:  # noqa: PLR2004
                    text = self._without_secrets((await response.content.read(_SHOWN)).decode("utf-8", "replace"))
                    error = error_for(response.status, text, response.headers, "the relay's consumer")
                    raise Retry(str(error).rstrip(": "), error.after if isinstance(error, Retry) else None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._silence(error) from error

    def _without_secrets(self, text: str) -> str:
        """What it says may have parts of the URL in it, of which some let others in."""
        return redacted(text, *self._secrets)

    def _silence(self, error: Exception) -> Retry:
        reason = self._without_secrets(str(error)) or type(error).__name__
        return Retry(f"the relay's consumer does not answer: {reason}")
