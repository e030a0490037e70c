"""SendGrid's Event Webhooks through the connector, on the fake."""

from collections.abc import AsyncIterator

import pytest

from connectors.errors import Reject
from connectors.event_webhook import public_key
from connectors.http import ForbiddenError, NotFoundError
from connectors.sendgrid_webhooks import EVENTS, SendGridWebhooks, Webhooks
from tests.fakes.faults import Respond
from tests.fakes.sendgrid import FakeSendGrid
from tests.fakes.sendgrid.event_webhook import TOGGLES

URL = "https://example.com/sendgrid"


@pytest.fixture
async def fake() -> AsyncIterator[FakeSendGrid]:
    async with FakeSendGrid() as fake:
        yield fake


@pytest.fixture
async def api(fake: FakeSendGrid) -> AsyncIterator[SendGridWebhooks]:
    async with SendGridWebhooks(fake.key, fake.url) as api:
        yield api


def test_the_types_are_those_that_sendgrid_has() -> None:
    assert EVENTS == TOGGLES


async def test_an_account_may_have_none(api: SendGridWebhooks) -> None:
    assert await api.webhooks() == Webhooks(5, [])


async def test_a_new_one_posts_everything(api: SendGridWebhooks) -> None:
    webhook_id = await api.create(URL, "ours")

    (listed,) = (await api.webhooks()).all
    assert (listed.id, listed.url, listed.name) == (webhook_id, URL, "ours")
    found = await api.webhook(webhook_id)
    assert (found.is_enabled, found.off, found.public_key) == (True, [], "")


async def test_what_is_off_is_named_also_what_is_shown_only_when_asked_for(
    fake: FakeSendGrid, api: SendGridWebhooks
) -> None:
    webhook = fake.webhooks.add(URL)
    webhook.events |= dict.fromkeys(TOGGLES, True) | {"open": False}

    assert (await api.webhook(webhook.id)).off == ["open", "account_status_change"]
    await api.change(webhook.id, URL)
    assert (await api.webhook(webhook.id)).off == []


async def test_a_url_that_is_taken_is_the_webhook_that_has_it(fake: FakeSendGrid, api: SendGridWebhooks) -> None:
    webhook = fake.webhooks.add(URL)

    assert await api.create(URL, "ours") == webhook.id


async def test_another_refusal_is_none(fake: FakeSendGrid, api: SendGridWebhooks) -> None:
    fake.limits.webhooks = 0

    with pytest.raises(Reject, match="maximum of 0 webhooks"):
        await api.create(URL, "ours")


async def test_signing_gives_a_key_and_keeps_it(api: SendGridWebhooks) -> None:
    webhook_id = await api.create(URL, "ours")
    key = await api.sign(webhook_id)

    public_key(key)
    assert await api.sign(webhook_id) == key
    assert (await api.webhook(webhook_id)).public_key == key


async def test_one_that_is_gone_is_not_found(api: SendGridWebhooks) -> None:
    with pytest.raises(NotFoundError):
        await api.webhook("gone")


async def test_what_is_not_tracked_is_named(fake: FakeSendGrid, api: SendGridWebhooks) -> None:
    fake.senders.tracking = {"open": False, "click": True, "subscription": False}

    assert await api.untracked() == ["open", "subscription"]


async def test_a_parents_key_acts_for_a_subuser(fake: FakeSendGrid, api: SendGridWebhooks) -> None:
    subuser = fake.add_subuser("europe")
    async with SendGridWebhooks(fake.key, fake.url, "europe") as of_subuser:
        await of_subuser.create(URL, "ours")
    async with SendGridWebhooks(fake.key, fake.url, "nobody") as of_nobody:
        with pytest.raises(ForbiddenError):
            await of_nobody.webhooks()

    assert [each.url for each in subuser.webhooks.all.values()] == [URL]
    assert (await api.webhooks()).all == []


async def test_a_key_that_an_answer_repeats_is_not_repeated(fake: FakeSendGrid) -> None:
    async with SendGridWebhooks("SG.recognisable", fake.url) as api:
        fake.fail("GET", "*", Respond(400, b"no key SG.recognisable"))
        with pytest.raises(Reject) as refusal:
            await api.webhooks()

    assert str(refusal.value) == "SendGrid answered 400: no key (not shown)"
