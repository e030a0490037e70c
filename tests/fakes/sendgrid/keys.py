"""API keys and what they may do (facts 0 and 4)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from tests.fakes.sendgrid.api import Json, Refusal, Request, Route
from tests.fakes.server import Answer, Call

MARKETING = "marketing.read"
FULL_ACCESS = (
    MARKETING,
    "marketing.automation.read",
    "mail.send",
    "mail.batch.create",
    "templates.read",
    "templates.versions.read",
    "asm.groups.read",
    "suppression.read",
    "ips.pools.read",
    "whitelabel.read",
    "tracking_settings.read",
    "user.account.read",
    *(f"user.webhooks.event.settings.{right}" for right in ("create", "read", "update", "delete")),
    *(f"user.webhooks.event.test.{right}" for right in ("create", "read", "update", "delete")),
)
"""What a key of full access shows in `/v3/scopes`, as far as this fake has a use for it."""
_LENGTH = 69


@dataclass(frozen=True, slots=True)
class Key:
    """What a key may do.

    Attributes:
        scopes: as `/v3/scopes` shows them.
        read_only: whether calls that change marketing objects are refused. No scope of the new product says so
            (facts 4: do not read `marketing.read` as proof of read-only).
    """

    scopes: tuple[str, ...]
    read_only: bool = False


class Keys:
    """The keys of an account, and who may call what.

    Attributes:
        all: by the text of the key.
        account: the answer of `/v3/user/account`.
    """

    def __init__(self) -> None:
        self.all: dict[str, Key] = {}
        self.account: Json = {"type": "paid", "reputation": 99.7}

    def add(self, scopes: Iterable[str] = FULL_ACCESS, *, read_only: bool = False) -> str:
        """A new key: 69 characters that begin with `SG.` (facts 0)."""
        text = f"SG.key-{len(self.all)}.".ljust(_LENGTH, "x")
        self.all[text] = Key(tuple(scopes), read_only)
        return text

    def check(self, route: Route, call: Call) -> None:
        """Refuse a call with 401 or 403 whose key is wrong or may not do it."""
        if route.is_open:
            return
        key = self._of(call)
        if (route.scope and route.scope not in key.scopes) or (route.writes and key.read_only):
            raise Refusal(HTTPStatus.FORBIDDEN, (None, "access forbidden"))

    def routes(self) -> Iterator[Route]:
        """`/v3/scopes` needs no scope; `/v3/user/account` does and so may fail a narrow key (facts 4)."""
        yield Route("GET", "/v3/scopes", self._scopes)
        yield Route("GET", "/v3/user/account", lambda _: Answer(body=self.account), "user.account.read")

    def _scopes(self, request: Request) -> Answer:
        return Answer(body={"scopes": list(self._of(request.call).scopes)})

    def _of(self, call: Call) -> Key:
        kind, _, text = call.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not text:
            raise Refusal(HTTPStatus.UNAUTHORIZED, (None, "authorization required"))
        if text not in self.all:
            message = "The provided authorization grant is invalid, expired, or revoked"
            raise Refusal(HTTPStatus.UNAUTHORIZED, (None, message))
        return self.all[text]
