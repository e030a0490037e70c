"""SendGrid's Event Webhooks: which there are, what they post where, and their keys; and what is tracked at all.

Source: SendGrid's OpenAPI descriptions of webhooks and tracking settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from connectors.errors import Reject
from connectors.sendgrid import SendGrid

EVENTS = (
    "processed",
    "delivered",
    "deferred",
    "bounce",
    "dropped",
    "open",
    "click",
    "spam_report",
    "unsubscribe",
    "group_unsubscribe",
    "group_resubscribe",
)
"""Of a webhook's settings: the event types that it posts or not. SendGrid's test posts one of each."""
TRACKING = ("open", "click", "subscription")

_ACCOUNT_EVENT = "account_status_change"
"""A type that is only shown when it is asked for, and not part of the test."""
_SETTINGS = "/v3/user/webhooks/event/settings"


@dataclass(frozen=True, slots=True)
class Webhook:
    """One Event Webhook.

    Attributes:
        id: SendGrid's.
        url: that it posts to, with a user name and a password in it if need be.
        name: for people; may be empty.
        is_enabled: disabled ones count for the plan too.
        off: event types that it does not post.
        public_key: that verifies what it posts; empty where it does not sign.
    """

    id: str
    url: str
    name: str
    is_enabled: bool
    off: Sequence[str]
    public_key: str


@dataclass(frozen=True, slots=True)
class Webhooks:
    """The Event Webhooks of an account.

    Attributes:
        most: that its plan allows; 0 where SendGrid does not say.
        all: that there are.
    """

    most: int
    all: Sequence[Webhook]


class SendGridWebhooks(SendGrid):
    """One account, or one of its subusers. Every method raises as SendGrid's do.

    Args:
        api_key: with the scopes user.webhooks.event.settings.* and user.webhooks.event.test.create.
        api_url: https://api.sendgrid.com, or https://api.eu.sendgrid.com.
        on_behalf_of: the subuser, where the key is its parent account's.
    """

    def __init__(self, api_key: str, api_url: str, on_behalf_of: str = "") -> None:
        super().__init__(api_key, api_url)
        if on_behalf_of:
            self._headers["on-behalf-of"] = on_behalf_of

    async def webhooks(self) -> Webhooks:
        """All Event Webhooks."""
        answer = await self._call("GET", f"{_SETTINGS}/all")
        # Where there are none SendGrid was seen to answer with one empty object.
        found = [_webhook(each) for each in answer.get("webhooks") or [] if each.get("id")]
        return Webhooks(int(answer.get("max_allowed") or 0), found)

    async def webhook(self, webhook_id: str) -> Webhook:
        """One of them, with the type that is shown only here."""
        path = f"{_SETTINGS}/{quote(webhook_id)}?include={_ACCOUNT_EVENT}"
        return _webhook(await self._call("GET", path), (*EVENTS, _ACCOUNT_EVENT))

    async def create(self, url: str, name: str) -> str:
        """Make a webhook that posts everything; returns its id. If one has this URL already, that one's."""
        try:
            return str((await self._call("POST", _SETTINGS, _all_on(url, friendly_name=name)))["id"])
        except Reject as refusal:
            if taken := _id_of_taken(refusal.detail):
                return taken
            raise

    async def change(self, webhook_id: str, url: str) -> None:
        """Have a webhook post everything, to this URL."""
        await self._call("PATCH", f"{_SETTINGS}/{quote(webhook_id)}", _all_on(url))

    async def sign(self, webhook_id: str) -> str:
        """Have a webhook sign what it posts; returns its public key. One that signs already keeps its key."""
        answer = await self._call("PATCH", f"{_SETTINGS}/signed/{quote(webhook_id)}", orjson.dumps({"enabled": True}))
        return str(answer["public_key"])

    async def post_test(self, webhook_id: str, url: str) -> None:
        """Have SendGrid post one made-up event of each type to a URL, signed as this webhook's; once, soon."""
        await self._call("POST", "/v3/user/webhooks/event/test", orjson.dumps({"id": webhook_id, "url": url}))

    async def untracked(self) -> list[str]:
        """Of TRACKING, what is switched off: their events never happen."""
        return [
            name for name in TRACKING if not (await self._call("GET", f"/v3/tracking_settings/{name}")).get("enabled")
        ]


def _all_on(url: str, **others: str) -> bytes:
    on = dict.fromkeys((*EVENTS, _ACCOUNT_EVENT), True)
    return orjson.dumps({"url": url, "enabled": True, **on, **others})


def _webhook(found: dict[str, Any], events: Sequence[str] = EVENTS) -> Webhook:
    return Webhook(
        id=str(found["id"]),
        url=str(found.get("url") or ""),
        name=str(found.get("friendly_name") or ""),
        is_enabled=bool(found.get("enabled")),
        off=[name for name in events if not found.get(name)],
        public_key=str(found.get("public_key") or ""),
    )


def _id_of_taken(answer: str) -> str:
    try:
        return str(orjson.loads(answer).get("id") or "")
    except (orjson.JSONDecodeError, AttributeError):
        return ""
