"""MailRules are checked and tried against an account before a customer finds out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from connectors.errors import Fatal
from connectors.sendgrid import SendGrid
from schemas.mail import MailRules
from streams.mail.check import check
from streams.mail.trial import find_rule, send_trial
from streams.sections import Mail
from tests.fakes.sendgrid import FakeSendGrid

USUAL = {"event": "Order Shipped", "from": "shop@example.com", "to": "$.properties.email"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeSendGrid]:
    async with FakeSendGrid() as fake:
        fake.senders.domains = {"example.com": True, "example.net": False}
        fake.senders.pools = ["fast"]
        fake.suppressions.add_group("News", "", is_default=False)
        yield fake


@pytest.fixture
def template(fake: FakeSendGrid) -> str:
    return fake.add_template("Order", "{{#if name}}Hello {{name}}{{/if}}", subject="Order {{order}}").id


def rules(*some: dict[str, Any]) -> MailRules:
    return Mail(rules=tuple(USUAL | each for each in some)).compiled()


async def found(fake: FakeSendGrid, some: MailRules, key: str = "") -> dict[str, tuple[str, str]]:
    async with SendGrid(key or fake.key, fake.url) as api:
        return {subject.partition(": ")[2]: (state, remedy) async for subject, state, remedy in check(some, api)}


class TestCheck:
    async def test_a_rule_that_fits(self, fake: FakeSendGrid, template: str) -> None:
        data = {"name": "$.properties.name", "order": 1}
        about = await found(
            fake,
            rules(
                {"template_id": template, "group_id": "News [1]", "ip_pool_name": "fast", "dynamic_template_data": data}
            ),
        )

        assert about == {
            "template_id": ("Order, version 1", ""),
            "dynamic_template_data": ("has all that the template uses: name, order", ""),
            "from": ("shop@example.com, of the authenticated domain example.com", ""),
            "group_id": ("1, News", ""),
            "ip_pool_name": ("fast", ""),
        }

    async def test_what_the_mapping_leaves_empty(self, fake: FakeSendGrid, template: str) -> None:
        mapped = await found(fake, rules({"template_id": template, "dynamic_template_data": {"name": "x"}}))
        unmapped = await found(fake, rules({"template_id": template}))

        assert mapped["dynamic_template_data"][0] == "leaves empty what the template uses: order"
        assert mapped["dynamic_template_data"][1]
        assert unmapped["dynamic_template_data"] == (
            "the template uses name, order: $.properties should have these",
            "",
        )

    @pytest.mark.parametrize(
        ("fields", "subject", "state"),
        [
            ({"template_id": "d-000"}, "template_id", "there is no template d-000"),
            ({"from": "shop@example.org"}, "from", "example.org is no authenticated domain of the account"),
            ({"from": "shop@example.net"}, "from", "example.net is no authenticated domain of the account"),
            ({"group_id": 9}, "group_id", "there is no unsubscribe group 9"),
            ({"ip_pool_name": "slow"}, "ip_pool_name", "there is no IP pool slow"),
        ],
    )
    async def test_what_is_not_there(
        self, fake: FakeSendGrid, template: str, fields: dict[str, Any], subject: str, state: str
    ) -> None:
        about = await found(fake, rules({"template_id": template} | fields))

        assert about[subject][0] == state
        assert about[subject][1]

    async def test_a_template_without_an_active_version(self, fake: FakeSendGrid) -> None:
        idle = fake.add_template("Idle", active=False).id

        assert (await found(fake, rules({"template_id": idle})))["template_id"][0] == "Idle has no active version"

    async def test_a_legacy_template(self, fake: FakeSendGrid, template: str) -> None:
        fake.templates[template].generation = "legacy"

        assert (await found(fake, rules({"template_id": template})))["template_id"][0] == "Order is a legacy template"

    async def test_a_subdomain_of_an_authenticated_domain(self, fake: FakeSendGrid, template: str) -> None:
        about = await found(fake, rules({"template_id": template, "from": {"email": "shop@mail.example.com"}}))

        assert not about["from"][1]

    @pytest.mark.parametrize("address", ["shop@example.org", "Shop@Example.org"])
    async def test_a_verified_single_sender(self, fake: FakeSendGrid, template: str, address: str) -> None:
        """One of more than a page has."""
        fake.senders.single = {f"p{number}@example.org": False for number in range(250)} | {"shop@example.org": True}
        about = await found(fake, rules({"template_id": template, "from": address}))

        assert about["from"] == (f"{address}, a verified Single Sender", "")

    async def test_a_single_sender_that_is_not_verified(self, fake: FakeSendGrid, template: str) -> None:
        fake.senders.single = {"shop@example.org": False}
        about = await found(fake, rules({"template_id": template, "from": "shop@example.org"}))

        assert about["from"][0] == "shop@example.org is a Single Sender that is not verified"
        assert about["from"][1]

    async def test_single_senders_that_the_key_may_not_ask_for(self, fake: FakeSendGrid, template: str) -> None:
        fake.senders.single = {"shop@example.org": True}
        fake.fail("GET", "/v3/verified_senders", 403)
        about = await found(fake, rules({"template_id": template, "from": "shop@example.org"}))

        assert about["from"][0] == "example.org is no authenticated domain of the account"
        assert "whether it is one the API key may not ask" in about["from"][1]

    async def test_what_only_a_call_knows(self, fake: FakeSendGrid) -> None:
        fields = {"template_id": "$.properties.template", "from": "$.properties.shop", "group_id": "$.properties.group"}
        about = await found(fake, rules(fields))

        assert about == {"template_id": ("only a call knows it", ""), "from": ("only a call knows it", "")}

    async def test_what_the_key_may_not_ask(self, fake: FakeSendGrid, template: str) -> None:
        about = await found(
            fake,
            rules({"template_id": template, "group_id": 1, "ip_pool_name": "fast"}),
            fake.add_key(["mail.send"]),
        )

        assert {subject: remedy for subject, (_, remedy) in about.items()} == {
            "template_id": "give it the scope templates.read",
            "from": "give it the scope whitelabel.read",
            "group_id": "give it the scope asm.groups.read",
            "ip_pool_name": "give it the scope ips.pools.read",
        }

    async def test_more_domains_than_a_page_has(self, fake: FakeSendGrid, template: str) -> None:
        fake.senders.domains = {f"d{number}.example.org": True for number in range(450)}
        about = await found(fake, rules({"template_id": template, "from": "a@d449.example.org"}))

        assert not about["from"][1]


class TestTrial:
    async def test_it_has_samples_of_all_that_the_template_uses(self, fake: FakeSendGrid, template: str) -> None:
        rule = rules({"template_id": template, "cc": "boss@example.com", "send_at": "$.properties.at"}).all[0]
        async with SendGrid(fake.key, fake.url) as api:
            sent = await send_trial(rule, api, "me@example.com", {"order": "$.5"}, is_sandbox=False)

        (mail,) = fake.mail.sent
        assert (sent.message_id, sent.is_delivered) == (mail.message_id, True)
        assert mail.recipients == ["me@example.com"]
        data = mail.body["personalizations"][0]["dynamic_template_data"]
        assert data == {"name": "sample name", "order": "$.5"}

    async def test_in_sandbox_mode_nothing_is_delivered(self, fake: FakeSendGrid, template: str) -> None:
        rule = rules({"template_id": template, "dynamic_template_data": {"name": "$.properties.name", "order": 1}}).all[
            0
        ]
        async with SendGrid(fake.key, fake.url) as api:
            assert not (await send_trial(rule, api, "me@example.com", {}, is_sandbox=True)).is_delivered

        assert not fake.mail.sent
        (mail,) = fake.mail.checked
        assert mail.body["personalizations"][0]["dynamic_template_data"] == {"name": "sample name", "order": 1}

    async def test_what_refuses_it_is_said(self, fake: FakeSendGrid, template: str) -> None:
        some = rules({"template_id": template, "group_id": 9}, {"event": "A", "template_id": "$.properties.template"})
        async with SendGrid(fake.key, fake.url) as api:
            with pytest.raises(Fatal, match="group_id"):
                await send_trial(some.all[0], api, "me@example.com", {}, is_sandbox=False)
            with pytest.raises(Fatal, match="rule A: template_id: found nothing"):
                await send_trial(some.all[1], api, "me@example.com", {}, is_sandbox=False)

    def test_a_rule_is_found_by_name_event_or_number(self) -> None:
        some = rules({"template_id": "d-1"}, {"template_id": "d-2"}, {"event": "A", "name": "B", "template_id": "d-3"})

        assert find_rule(some, "Order Shipped (2)") is some.all[1]
        assert find_rule(some, "Order Shipped") is some.all[0]
        assert find_rule(some, "A") is find_rule(some, "B") is find_rule(some, "3") is some.all[2]
        with pytest.raises(
            Fatal, match=r"there is no rule 4; rules: 1 = Order Shipped, 2 = Order Shipped \(2\), 3 = B"
        ):
            find_rule(some, "4")
