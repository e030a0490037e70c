"""Rate limits: per endpoint and window, told by headers (facts 0)."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from http import HTTPStatus
from math import ceil

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.api import Refusal

_DEFAULT = (10_000, 60.0)
"""SendGrid publishes no numbers; this one is out of the way of tests that are not about it."""


Rule = tuple[str, str, int, float]
"""Method and path of the calls, how many of them, in how many seconds."""


@dataclass(slots=True)
class Window:
    """The current window of one limit.

    Attributes:
        limit: calls in it.
        ends: in seconds since 1970.
        used: calls so far.
    """

    limit: int
    ends: int
    used: int = 0

    def headers(self) -> dict[str, str]:
        """What every answer says; SendGrid sends no `Retry-After`."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(max(0, self.limit - self.used)),
            "X-RateLimit-Reset": str(self.ends),
        }


class RateLimits:
    """Counts calls by endpoint.

    Attributes:
        refused: how many calls got a 429 so far.
    """

    def __init__(self, clock: Clock) -> None:
        self.refused = 0
        self._clock = clock
        self._rules: list[Rule] = []
        self._windows: dict[str, Window] = {}

    def set(self, method: str, path: str, requests: int, seconds: float) -> None:
        """Limit the calls of an endpoint; where several rules fit, the latest counts.

        Args:
            method: `*` is any.
            path: without the query; `*` stands for any text. All paths that fit share the limit.
            requests: so many are let in
            seconds: within a window of this length.
        """
        self._rules.insert(0, (method, path, requests, seconds))
        self._windows.clear()

    def has_rule(self, method: str, path: str) -> bool:
        """Whether a test has limited this endpoint."""
        return any(_fits(rule, method, path) for rule in self._rules)

    def count(self, method: str, path: str, endpoint: str) -> Window:
        """Count a call.

        Args:
            method: of the call,
            path: of the call.
            endpoint: the path of its route.
        """
        name, requests, seconds = f"{method} {endpoint}", *_DEFAULT
        for rule in self._rules:
            if _fits(rule, method, path):
                name, requests, seconds = f"{rule[0]} {rule[1]}", rule[2], rule[3]
                break
        now = self._clock.now()
        window = self._windows.get(name)
        if window is None or window.ends <= now:
            window = self._windows[name] = Window(requests, ceil(now + seconds))
        window.used += 1
        return window

    def check(self, window: Window) -> None:
        """Refuse a call that the window has no room for."""
        if window.used > window.limit:
            self.refused += 1
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, (None, "too many requests"))


def _fits(rule: Rule, method: str, path: str) -> bool:
    return rule[0] in {"*", method} and fnmatchcase(path, rule[1])
