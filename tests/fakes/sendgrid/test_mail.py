"""Sending mail (facts 3)."""

from typing import Any

import pytest

from tests.fakes.conftest import NOON, Caller
from tests.fakes.sendgrid import FakeSendGrid

SEND = "/v3/mail/send"
TO = {"email": "ada@example.com"}
PLAIN: dict[str, Any] = {
    "personalizations": [{"to": [TO]}],
    "from": {"email": "shop@example.com", "name": "Shop"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hello"}],
}


def to(**changes: Any) -> dict[str, Any]:
    """A mail whose one personalization has these."""
    return PLAIN | {"personalizations": [{"to": [TO]} | changes]}


async def test_is_202_with_an_id_and_an_empty_body(fake: FakeSendGrid, call: Caller) -> None:
    reply = await call("POST", SEND, PLAIN)

    assert (reply.status, reply.body) == (202, b"")
    (mail,) = fake.mail.sent
    assert (reply.headers["X-Message-Id"], mail.body, mail.recipients) == (mail.message_id, PLAIN, ["ada@example.com"])
    assert len(mail.message_id) == 22


async def test_is_200_in_sandbox_mode_and_delivers_nothing(fake: FakeSendGrid, call: Caller) -> None:
    reply = await call("POST", SEND, PLAIN | {"mail_settings": {"sandbox_mode": {"enable": True}}})

    assert reply.status == 200
    assert (len(fake.mail.sent), len(fake.mail.checked)) == (0, 1)


async def test_a_template_brings_subject_and_content(fake: FakeSendGrid, call: Caller) -> None:
    """Its id begins with `d-`; it has to exist."""
    template = fake.add_template("Order")
    body = {
        "personalizations": [{"to": [TO], "dynamic_template_data": {"a": 1}}],
        "from": {"email": "shop@example.com"},
    }

    assert (await call("POST", SEND, body | {"template_id": template.id})).status == 202
    assert (await call("POST", SEND, body | {"template_id": "d-nothing"})).status == 400
    assert (await call("POST", SEND, body)).status == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "personalizations"),
        (PLAIN | {"personalizations": []}, "personalizations"),
        (PLAIN | {"personalizations": [{"to": [TO]}] * 1001}, "personalizations"),
        (PLAIN | {"personalizations": [{}]}, "personalizations.0.to"),
        (PLAIN | {"from": {"email": "shop"}}, "from.email"),
        ({key: value for key, value in PLAIN.items() if key != "from"}, "from"),
        ({key: value for key, value in PLAIN.items() if key != "subject"}, "subject"),
        ({key: value for key, value in PLAIN.items() if key != "content"}, "content"),
        (PLAIN | {"reply_to": TO, "reply_to_list": [TO]}, "reply_to"),
        (to(to=[{"email": "ada at example.com"}]), "personalizations.0.to.0.email"),
        (to(to=[TO | {"name": "Lovelace, Ada"}]), "personalizations.0.to.0.name"),
        (to(cc=[{"email": "ADA@example.com"}]), "personalizations.0.cc.0"),
        (to(bcc=[{"email": f"{number}@example.com"} for number in range(1000)]), "personalizations"),
        (to(dynamic_template_data={"a": 1}, substitutions={"a": "1"}), "personalizations.0.substitutions"),
        (to(headers={"Reply-To": "a"}), "personalizations.0.headers.Reply-To"),
        (to(custom_args={}), "personalizations.0.custom_args"),
        (to(send_at=NOON + 0.5), "personalizations.0.send_at"),
        (PLAIN | {"custom_args": {"a": 1}}, "custom_args"),
        (PLAIN | {"custom_args": {"a": "b" * 10_000}}, "custom_args"),
        (PLAIN | {"headers": {"X-SG-ID": "a"}}, "headers.X-SG-ID"),
        (PLAIN | {"headers": {"X A": "a"}}, "headers.X A"),
        (PLAIN | {"headers": {"X-A": 1}}, "headers.X-A"),
        (PLAIN | {"categories": [str(number) for number in range(11)]}, "categories"),
        (PLAIN | {"categories": ["a", "a"]}, "categories"),
        (PLAIN | {"categories": ["a" * 256]}, "categories.0"),
        (PLAIN | {"asm": {"group_id": 9}}, "asm.group_id"),
        (PLAIN | {"asm": {"group_id": 1, "groups_to_display": list(range(26))}}, "asm.groups_to_display"),
        (PLAIN | {"send_at": int(NOON) + 72 * 3600 + 1}, "send_at"),
        (PLAIN | {"ip_pool_name": "other"}, "ip_pool_name"),
        (PLAIN | {"mail_settings": {"sandbox_mode": {"enable": "true"}}}, "mail_settings.sandbox_mode.enable"),
        (
            PLAIN
            | {
                "mail_settings": {
                    "bypass_list_management": {"enable": True},
                    "bypass_spam_management": {"enable": True},
                }
            },
            "mail_settings",
        ),
    ],
)
async def test_every_limit_is_a_400_that_names_the_field(
    fake: FakeSendGrid, call: Caller, body: dict[str, Any], field: str
) -> None:
    fake.suppressions.add_group("News", "", is_default=True)

    reply = await call("POST", SEND, body)

    assert reply.status == 400
    assert field in [error["field"] for error in reply.body["errors"]]
    assert not fake.mail.sent


async def test_everything_within_its_limits_is_taken(fake: FakeSendGrid, call: Caller) -> None:
    """A time in the past sends at once."""
    fake.senders.pools.append("news")
    group = fake.suppressions.add_group("News", "", is_default=True)
    body = to(cc=[{"email": "bob@example.com"}], custom_args={"user": "1"}, headers={"X-A": "b"}) | {
        "categories": ["a", "b"],
        "asm": {"group_id": group.id},
        "ip_pool_name": "news",
        "send_at": int(NOON) - 5,
        "reply_to": {"email": "help@example.com"},
    }

    assert (await call("POST", SEND, body)).status == 202


async def test_has_no_rate_limit_headers_unless_scripted(fake: FakeSendGrid, call: Caller) -> None:
    """Facts 0."""
    assert "X-RateLimit-Limit" not in (await call("POST", SEND, PLAIN)).headers
    fake.rates.set("POST", SEND, requests=1, seconds=10)
    assert "X-RateLimit-Limit" in (await call("POST", SEND, PLAIN)).headers
    assert (await call("POST", SEND, PLAIN)).status == 429


async def test_its_events_have_its_arguments_and_its_id(fake: FakeSendGrid, call: Caller) -> None:
    """Event Webhook's facts 3 and 5: merged at the top level; the id begins with `X-Message-Id`."""
    await call("POST", SEND, to(custom_args={"user": "1"}) | {"custom_args": {"user": "0", "rule": "r"}})
    (mail,) = fake.mail.sent

    event = mail.event("delivered", NOON, response="250 OK")

    assert (event["user"], event["rule"], event["email"], event["response"]) == ("1", "r", "ada@example.com", "250 OK")
    assert event["sg_message_id"].startswith(mail.message_id + ".recvd-")
    assert event == mail.event("delivered", NOON, response="250 OK")
