"""What a simulated SendGrid feed is made of: people, their mailboxes, the mail they get, and what servers say.

Data only. Every domain ends in `.example` or is one of example.com and example.org; every address is of a range for
documentation or benchmarks: nobody has them. The wording follows payloads captured in the field, and user agents are
those that one really meets.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

ACCOUNT = 19942112
"""The sender's number at SendGrid; it is part of most event ids."""

FIRST_NAMES = (
    *("ada", "aiko", "amara", "bela", "bruno", "carla", "chen", "dana", "diego", "elif", "emil", "fatou", "finn"),
    *("grace", "hana", "ines", "ivan", "jonas", "kofi", "lea", "liam", "mila", "nadia", "noah", "olga", "omar"),
    *("pia", "quinn", "rosa", "sami", "tara", "tomas", "uma", "vera", "wanda", "xenia", "yusuf", "zoe"),
)
LAST_NAMES = (
    *("alder", "aspen", "birch", "bluebell", "cedar", "clover", "crane", "dove", "elm", "fern", "finch", "hazel"),
    *("heather", "heron", "ivy", "jay", "juniper", "kestrel", "larch", "lark", "lovelace", "maple", "moss", "oak"),
    *("plover", "rowan", "sage", "swift", "tern", "thistle", "wren"),
)
"""Trees and birds: no such person."""


class Refusal(NamedTuple):
    """Why a message bounced; without a classification SendGrid leaves that key out."""

    status: str
    classification: str
    reason: str


@dataclass(frozen=True, slots=True)
class Provider:
    """Who runs a mailbox. In the texts, {time}, {token}, {email}, {ip} and {smtp_id} are filled in.

    Attributes:
        share: of all users, in percent.
        domains: of its addresses.
        accepted: its server's answers to a message that it takes.
        delayed: to one that it does not take now.
        blocked: to one that it refuses this time.
        bounced: to one that it refuses for good.
        devices: what its users open mail with, and what they follow links with.
        images: the networks that open pixels load from; without any, from the user's own address.
    """

    share: int
    domains: tuple[str, ...]
    accepted: tuple[str, ...]
    delayed: tuple[str, ...]
    blocked: tuple[Refusal, ...]
    bounced: tuple[Refusal, ...]
    devices: tuple[tuple[str, str], ...]
    images: tuple[str, ...] = ()


_CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
)
_EDGE = f"{_CHROME} Edg/142.0.0.0"
_FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"
_ANDROID = (
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
)
_IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 "
    "Mobile/15E148 Safari/604.1"
)
_APPLE_MAIL = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_OUTLOOK = "Mozilla/4.0 (compatible; ms-office; MSOffice 16)"
_THUNDERBIRD = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Thunderbird/140.4.0"
_GOOGLE_PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"

APPLE_PROXY = "Mozilla/5.0"
"""All that Apple's Mail Privacy Protection says of itself."""
APPLE_NETWORKS = ("203.0.113.", "2001:db8:a:1e::")
SENDERS = tuple(f"198.51.100.{number}" for number in (12, 13, 14, 77, 78, 201))

PROVIDERS = (
    Provider(
        share=52,
        domains=("gmail.example",),
        accepted=(
            "250 2.0.0 OK  {time} {token}si4120{time}.57 - gsmtp",
            "250 2.0.0 OK  {time} {token}-20d1fc6a1si88{time}.143 - gsmtp ",
        ),
        delayed=(
            "421 4.7.28 [{ip}] Our system has detected an unusual rate of unsolicited mail. {token}si91 - gsmtp",
            "450 4.2.1 The user you are trying to contact is receiving mail too quickly. {token}si12 - gsmtp",
            "IPs were throttled by recipient server",
        ),
        blocked=(
            Refusal("5.2.2", "Mailbox Unavailable", "552 5.2.2 The email account is over quota. {token}.34 - gsmtp"),
            Refusal("5.7.1", "Reputation", "550 5.7.1 [{ip}] This message is likely unsolicited. {token}si7 - gsmtp"),
            Refusal("4.7.28", "Frequency/Volume", "421 4.7.28 [{ip}] too much mail within 24 hours. {token} - gsmtp"),
        ),
        bounced=(
            Refusal("5.1.1", "Invalid Address", "550 5.1.1 The email account does not exist. {token}si3 - gsmtp"),
            Refusal("5.2.1", "", "550 5.2.1 The email account is inactive. {token} - gsmtp"),
        ),
        devices=((_GOOGLE_PROXY, _CHROME), (_GOOGLE_PROXY, _ANDROID), (_GOOGLE_PROXY, _IPHONE)),
        images=("192.0.2.",),
    ),
    Provider(
        share=19,
        domains=("outlook.example", "hotmail.example"),
        accepted=(
            "250 2.6.0 {smtp_id} [InternalId={time}7681, Hostname=MW4PR19MB5536.example] Queued mail for delivery",
            "250 2.1.5 Queued mail for delivery",
        ),
        delayed=(
            "451 4.7.500 Server busy. Please try again later from [{ip}]. (S77714) [VI1EUR05FT012.example]",
            "421 RP-001 (SN1NAM02FT0061.example) Unfortunately, some messages from {ip} weren't sent.",
        ),
        blocked=(
            Refusal(
                "5.7.1", "Reputation", "550 5.7.1 Messages from [{ip}] weren't sent: it is on our block list (S3140)."
            ),
            Refusal("5.2.2", "Mailbox Unavailable", "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceeded"),
        ),
        bounced=(
            Refusal("5.5.0", "Invalid Address", "550 5.5.0 Requested action not taken: mailbox unavailable (S201706)."),
        ),
        devices=((_OUTLOOK, _EDGE), (_EDGE, _EDGE), (_IPHONE, _IPHONE), (_ANDROID, _ANDROID)),
    ),
    Provider(
        share=12,
        domains=("yahoo.example", "aol.example"),
        accepted=("250 ok dirdel", "250 ok dirdel 2/0"),
        delayed=("421 4.7.0 [TSS04] Messages from {ip} temporarily deferred due to user complaints - 4.16.55.1",),
        blocked=(
            Refusal("5.7.9", "Content", "554 5.7.9 Message not accepted for policy reasons. ({token})"),
            Refusal("550", "Unclassified", "550 Mail refused for {email}"),
        ),
        bounced=(
            Refusal(
                "5.0.0", "Invalid Address", "554 delivery error: dd This user doesn't have an account ({email}) [0]"
            ),
            Refusal("5.0.0", "", "552 1 Requested mail action aborted, mailbox not found"),
        ),
        devices=((_IPHONE, _IPHONE), (_FIREFOX, _FIREFOX), (_ANDROID, _ANDROID)),
    ),
    Provider(
        share=17,
        domains=("acme.example", "globex.example", "initech.example", "umbrella.example", "mail.example.org"),
        accepted=(
            "250 2.0.0 Ok: queued as {token}",
            "250 2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as {token}",
            "250 Message accepted for delivery",
        ),
        delayed=(
            "450 4.2.0 <{email}>: Recipient address rejected: Greylisted, see http://postgrey.example/help ",
            "unable to connect to MX servers: dial tcp 203.0.113.7:25: i/o timeout",
        ),
        blocked=(
            Refusal("5.7.1", "Content", '550 5.7.1 Message rejected as "bulk" by content filter <{token}>'),
            Refusal("5.7.606", "Reputation", "550 5.7.606 Access denied, banned sending IP [{ip}]"),
            Refusal("5.0.0", "Technical", "unable to get mx info: failed to get IPs from PTR record: lookup timed out"),
        ),
        bounced=(
            Refusal("5.4.1", "Invalid Address", "550 5.4.1 Recipient address rejected: Access denied. [{token}]"),
            Refusal("5.1.1", "Invalid Address", "550 5.1.1 <{email}>: Recipient address rejected: User unknown"),
            Refusal("5.7.999", "Unclassified", "550 Administrative prohibition – envelope blocked"),
        ),
        devices=((_APPLE_MAIL, _FIREFOX), (_THUNDERBIRD, _FIREFOX), (_OUTLOOK, _EDGE), (_IPHONE, _IPHONE)),
    ),
)

DROPS = (
    ("Bounced Address", ""),
    ("Bounced Address", "5.0.0"),
    ("Unsubscribed Address", ""),
    ("Unsubscribed Address", "5.0.0"),
    ("Spam Reporting Address", ""),
    ("Invalid", ""),
    ("Spam Content", ""),
    ("Invalid SMTPAPI header", ""),
    ("Recipient List over Package Quota", ""),
)
"""SendGrid's own reasons not to try, and the status that came with them, if any."""

ACCOUNT_CHANGES = ("compliance_suspend", "compliance_deactivate", "compliance_ban", "reactivate")


@dataclass(frozen=True, slots=True)
class Mailing:
    """A kind of mail that the simulated company sends.

    Attributes:
        share: of all mail, in percent.
        fields: of every event of such a message: categories, marketing fields, custom arguments.
        arguments: further custom arguments, made of a number that each message has of its own.
        links: that can be followed; {number} is filled in.
        pool: the IP pool, where one was asked for.
        send_at: of a message accepted at this second; SendGrid's type differs by how it was sent.
    """

    share: int
    fields: dict[str, object]
    links: tuple[str, ...]
    arguments: dict[str, Callable[[int], object]] = field(default_factory=dict)
    pool: dict[str, str] | None = None
    send_at: Callable[[int], object] = lambda _: 0


MAILINGS = (
    Mailing(
        share=27,
        fields={"category": ["receipt", "shop"]},
        arguments={"order_id": "A-{:06}".format, "Order Total": lambda number: f"{number % 500}.90"},
        links=(
            "https://shop.example.com/orders/A-{number:06}?utm_source=sendgrid&utm_medium=email",
            "https://shop.example.com/help?topic=returns&order=A-{number:06}",
        ),
        pool={"name": "transactional", "id": "210"},
    ),
    Mailing(
        share=26,
        fields={"category": "password-reset"},
        arguments={"requestId": "{:08x}".format},
        links=("https://app.example.com/reset?token={number:x}&lang=en",),
    ),
    Mailing(
        share=28,
        fields={"workspace": "acme-eu", "asm_group_id": 14521},
        links=(
            "https://app.example.com/inbox?thread={number}&utm_source=notification",
            "https://app.example.com/settings/notifications?from=email",
        ),
        send_at=lambda time: time + 0.03746,
    ),
    Mailing(
        share=7,
        fields={
            "category": ["Newsletter", "Frühling 2026"],
            "asm_group_id": 29087,
            "singlesend_id": "53e1f1d2-5b1c-11f0-9d0a-0242ac120002",
            "singlesend_name": "Spring letter",
            "mc_stats": "singlesend",
            "phase_id": "send",
            "sg_template_id": "d-6e1f0b7a0c1d4f4ea1a5c0f9e7b7a3d2",
            "sg_user_id": ACCOUNT,
        },
        links=(
            "https://www.example.com/spring?utm_campaign=spring&utm_source=sendgrid&utm_content=hero",
            "https://www.example.com/spring?utm_campaign=spring&utm_source=sendgrid&utm_content=footer",
            "https://www.example.com/stories/42?ref=letter&x=1%20a",
        ),
        pool={"name": "marketing", "id": "211"},
        send_at=lambda time: f"{time * 1000}",
    ),
    Mailing(
        share=10,
        fields={
            "category": ["campaign"],
            "asm_group_id": 29087,
            "marketing_campaign_id": 23314,
            "marketing_campaign_name": "Winter sale",
            "marketing_campaign_version": "B",
            "marketing_campaign_split_id": 13471,
        },
        links=(
            "https://www.example.com/sale?utm_campaign=winter&variant=B",
            "https://www.example.com/sale/shoes?utm_campaign=winter&size=42,43&variant=B",
        ),
        pool={"name": "marketing", "id": "211"},
        send_at=int,
    ),
    Mailing(
        share=2,
        fields={
            "category": [],
            "asm_group_id": 3,
            "newsletter": {
                "newsletter_id": "1943530",
                "newsletter_send_id": "2308608",
                "newsletter_user_list_id": "10557865",
            },
        },
        arguments={"Position": int},
        links=("https://www.example.com/archive/{number}",),
    ),
)

PREFERENCES = "https://www.example.com/preferences?group={group}&wpa=1"
"""Where people leave and join groups."""
DEFAULT_GROUP = 14520
"""Of mail that was sent without one."""
PROCESSING_HOSTS = (
    *("67fdc7b4d6-wbpn9-1", "67fdc7b4d6-4kq7z-1", "67fdc7b4d6-x2lmc-1", "5f8c7d9b44-hh6vt-1"),
    *("canary-547b64655b-cw6zx-1", "p3mdw1-756b745b58-kmzbl-18", "7c9d8f6b5-2nfks-1"),
)
MAIL_HOSTS = ("geopod-ismtpd-3-0", "geopod-ismtpd-7-1", "geopod-ismtpd-37", "geopod-ismtpd-22")
