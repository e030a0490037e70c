"""One message of a simulated SendGrid feed, and the events of its life.

Their keys and JSON types are those seen on the wire, which differ from Twilio's reference in places.
"""

import math
from binascii import b2a_base64
from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple, TypeVar
from uuid import UUID

import orjson

from streams.simulator.vocabulary import (
    ACCOUNT,
    ACCOUNT_CHANGES,
    APPLE_NETWORKS,
    APPLE_PROXY,
    DEFAULT_GROUP,
    DROPS,
    FIRST_NAMES,
    LAST_NAMES,
    MAIL_HOSTS,
    MAILINGS,
    PREFERENCES,
    PROCESSING_HOSTS,
    PROVIDERS,
    SENDERS,
    Refusal,
)

T = TypeVar("T")
Fields = dict[str, object]


def expanded(shares: Iterable[tuple[int, T]]) -> tuple[T, ...]:
    """Each as often as its share says, so that any of them can be picked."""
    return tuple(each for share, each in shares for _ in range(share))


_PROVIDERS = expanded((provider.share, provider) for provider in PROVIDERS)
_MAILINGS = expanded((mailing.share, mailing) for mailing in MAILINGS)
_ENCRYPTED = expanded([(49, 1), (1, 0)])
_NOW_AND_THEN = 0.1
_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")


class Step(NamedTuple):
    """One step of a story.

    Attributes:
        event: makes its event at a time (seconds since 1970).
        attempt: how often delivery had been put off.
        soonest: it follows the step before after so many seconds at least,
        latest: and after so many at most.
    """

    event: "Callable[[Message, int], Fields]"
    attempt: int
    soonest: float
    latest: float

    def wait(self, random: Random) -> float:
        """How long after the step before, in seconds: short waits are the most frequent."""
        return self.soonest * math.pow(self.latest / self.soonest, random.random())


Story = tuple[Step, ...]


class Message:
    """A message on its way, at some step of its story.

    Args:
        random: where everything about it comes from.
        users: how many recipients there are; one of them gets it.
        story: what it will live through, from here on.
        born: when SendGrid takes it, in seconds since 1970.
    """

    __slots__ = (
        *("_about", "_address", "_delivery", "_mailing", "_number", "_provider", "_random", "_sender", "_smtp_id"),
        *("_step", "_steps", "_user"),
    )

    def __init__(self, random: Random, users: int, story: Story, born: float) -> None:
        self._random = random
        self._steps = iter(story)
        self._step = next(self._steps)
        self._user = user = int(random.random() * users)
        self._provider = _PROVIDERS[user // 2 * 37 % len(_PROVIDERS)]
        self._mailing = mailing = self._any(_MAILINGS)
        self._number = number = random.getrandbits(20)
        self._sender = SENDERS[number % len(SENDERS)]
        self._address = self._email()
        base = _random_id(random)
        place = number % 4  # among the recipients of one request
        self._smtp_id = f"<{base}@{self._any(MAIL_HOSTS)}>"
        self._delivery = f"{ACCOUNT}-{base}-{place}"
        self._about: Fields = {
            "email": self._address,
            "sg_message_id": f"{base}.recvd-{self._any(PROCESSING_HOSTS)}-{int(born):X}-{number & 63:X}.{place}",
            **mailing.fields,
        }
        if user % 2:  # the provider, domain and device go by user // 2: whoever has an id may have any of them
            self._about["amp_user_id"] = f"user-{user:06}"
        for name, argument in mailing.arguments.items():
            self._about[name] = argument(number)

    def event(self, time: int) -> bytes:
        """The current step's event as SendGrid writes it: compact JSON, sorted keys, UTF-8."""
        return orjson.dumps(self._step.event(self, time), option=orjson.OPT_SORT_KEYS)

    def advance(self) -> float | None:
        """Go on to the next step: in how many seconds that happens. None: the story is over."""
        step = next(self._steps, None)
        if step is None:
            return None
        self._step = step
        return step.wait(self._random)

    def processed(self, time: int) -> Fields:
        """SendGrid takes the message."""
        fields = self._on_delivery("processed", "processed", time) | {"send_at": self._mailing.send_at(time)}
        if self._mailing.pool:
            fields["pool"] = self._mailing.pool
        return fields

    def dropped(self, time: int) -> Fields:
        """SendGrid takes it, and does not even try."""
        reason, status = self._any(DROPS)
        fields = self._on_delivery("dropped", "drop", time) | {"reason": reason}
        if status:
            fields["status"] = status
        return fields

    def deferred(self, time: int) -> Fields:
        """The receiving server says: not now."""
        attempt = self._step.attempt + 1
        fields = self._on_delivery("deferred", f"deferred-{attempt}", time)
        fields["attempt"] = str(attempt)
        fields["response"] = self._said(self._any(self._provider.delayed), time)
        if self._random.random() < _NOW_AND_THEN:
            fields["domain"] = self._address.partition("@")[2]
            fields["from"] = "shop@example.com"
        return fields | self._connection()

    def delivered(self, time: int) -> Fields:
        """The receiving server takes it."""
        fields = self._on_delivery("delivered", f"delivered-{self._step.attempt}", time) | self._connection()
        fields["response"] = self._said(self._any(self._provider.accepted), time)
        return fields

    def blocked(self, time: int) -> Fields:
        """The receiving server refuses it, this time."""
        fields = self._on_delivery("bounce", f"bounce-{self._step.attempt}", time) | self._connection()
        return fields | self._refusal("blocked", self._any(self._provider.blocked), time)

    def bounced(self, time: int) -> Fields:
        """The receiving server refuses it for good."""
        fields = self._on_delivery("bounce", f"bounce-{self._step.attempt}", time) | self._connection()
        return fields | self._refusal("bounce", self._any(self._provider.bounced), time)

    def bounced_late(self, time: int) -> Fields:
        """A mail came back after it was taken: SendGrid then knows little more than whose it was."""
        bounce = f"bounce-{ACCOUNT}-{UUID(int=self._random.getrandbits(128))}"
        fields: Fields = {"email": self._address, "event": "bounce", "timestamp": time, "sg_event_id": _id(bounce)}
        if self._random.random() < _NOW_AND_THEN:
            fields["sg_message_id"] = ""
        return fields | self._refusal("bounce", self._any(self._provider.bounced), time)

    def opened(self, time: int) -> Fields:
        """The recipient opens it."""
        images = self._provider.images
        return self._on_engagement("open", time) | {
            "ip": self._any(images) + str(self._number & 255) if images else self._home(),
            "sg_content_type": "html",
            "sg_machine_open": False,
            "useragent": self._device()[0],
        }

    def opened_by_machine(self, time: int) -> Fields:
        """Apple's Mail Privacy Protection loads its images, whether or not anybody looks."""
        return self._on_engagement("open", time) | {
            "ip": f"{self._any(APPLE_NETWORKS)}{self._number % 200}",
            "sg_content_type": "html",
            "sg_machine_open": True,
            "useragent": APPLE_PROXY,
        }

    def clicked(self, time: int) -> Fields:
        """The recipient follows a link."""
        links = self._mailing.links
        index = int(self._random.random() * len(links))
        return self._on_engagement("click", time) | {
            "ip": self._home(),
            "url": links[index].format(number=self._number),
            "url_offset": {"index": index, "type": "html"},
            "useragent": self._device()[1],
        }

    def complained(self, time: int) -> Fields:
        """The recipient calls it spam."""
        return self._on_engagement("spamreport", time)

    def unsubscribed(self, time: int) -> Fields:
        """The recipient leaves all mail."""
        return self._on_engagement("unsubscribe", time)

    def left_group(self, time: int) -> Fields:
        """The recipient leaves an unsubscribe group."""
        return self._on_preferences("group_unsubscribe", time)

    def joined_group(self, time: int) -> Fields:
        """The recipient joins an unsubscribe group again."""
        return self._on_preferences("group_resubscribe", time)

    def did_something_new(self, time: int) -> Fields:
        """An event that nobody has declared yet: SendGrid announces none."""
        return self._on_engagement("amp_interaction", time) | {"component": "carousel", "ip": self._home()}

    def ended_account(self, time: int) -> Fields:
        """SendGrid stops, or restores, one of the sender's subusers."""
        return {
            "event": "account_status_change",
            "sg_event_id": _id(f"{ACCOUNT + self._number}-terminate-{time}"),
            "timestamp": time,
            "type": self._any(ACCOUNT_CHANGES),
        }

    def _on_delivery(self, event: str, kind: str, time: int) -> Fields:
        return {
            **self._about,
            "event": event,
            "sg_event_id": _id(f"{kind}-{self._delivery}"),
            "smtp-id": self._smtp_id,
            "timestamp": time,
        }

    def _on_engagement(self, event: str, time: int) -> Fields:
        return {**self._about, "event": event, "sg_event_id": _random_id(self._random), "timestamp": time}

    def _on_preferences(self, event: str, time: int) -> Fields:
        group = self._about.get("asm_group_id", DEFAULT_GROUP)
        return self._on_engagement(event, time) | {
            "asm_group_id": group,
            "ip": self._home(),
            "url": PREFERENCES.format(group=group),
            "useragent": self._device()[1],
        }

    def _connection(self) -> Fields:
        return {"ip": self._sender, "tls": self._any(_ENCRYPTED)}

    def _refusal(self, kind: str, refusal: Refusal, time: int) -> Fields:
        fields: Fields = {"type": kind, "reason": self._said(refusal.reason, time), "status": refusal.status}
        if refusal.classification:
            fields["bounce_classification"] = refusal.classification
        return fields

    def _said(self, words: str, time: int) -> str:
        token = f"{self._random.getrandbits(48):012x}"
        return words.format(time=time, token=token, email=self._address, ip=self._sender, smtp_id=self._smtp_id)

    def _email(self) -> str:
        rest, first = divmod(self._user, len(FIRST_NAMES))
        suffix, last = divmod(rest, len(LAST_NAMES))
        domain = self._provider.domains[self._user // 2 % len(self._provider.domains)]
        address = f"{FIRST_NAMES[first]}.{LAST_NAMES[last]}{suffix or ''}@{domain}"
        return address if self._user % 50 else address.title()  # SendGrid repeats the case in which it was written

    def _home(self) -> str:
        """The recipient's own address, always the same."""
        user = self._user
        if user % 7 == 0:
            return f"2001:db8:{user >> 16:x}:{user & 0xFFFF:x}::1"
        return f"198.{18 + (user >> 16) % 2}.{user >> 8 & 0xFF}.{user & 0xFF}"

    def _device(self) -> tuple[str, str]:
        return self._provider.devices[self._user // 2 % len(self._provider.devices)]

    def _any(self, table: tuple[T, ...]) -> T:
        return table[int(self._random.random() * len(table))]


def _id(text: str) -> str:
    return _base64url(text.encode())


def _random_id(random: Random) -> str:
    return _base64url(random.getrandbits(128).to_bytes(16))


def _base64url(data: bytes) -> str:
    return b2a_base64(data, newline=False).translate(_URL_ALPHABET, b"=").decode()
