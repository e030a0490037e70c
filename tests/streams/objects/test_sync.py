"""Objects of SendGrid become the latest state in ClickHouse: the real engine, a stateful fake."""

from typing import Any

import pytest

from streams.objects.staging import Counts
from tests.fakes.faults import Cut, Respond
from tests.fakes.sendgrid.contact import RESERVED
from tests.fakes.server import Call
from tests.streams.objects.world import World


class TestLists:
    async def test_a_change_of_the_count_shows(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        for number in range(100):
            world.fake.add_contact(f"{number}@example.com", lists=[vip.id])
        first = (await world.sync("lists"))["lists"]
        before = await world.rows("lists", "id, name, recipient_count, contact_count, is_deleted")
        for number in range(100, 200):
            world.fake.add_contact(f"{number}@example.com", lists=[vip.id])
        second = (await world.sync("lists"))["lists"]

        state = {"id": vip.id, "name": "VIP", "recipient_count": 100, "contact_count": 100, "is_deleted": False}
        assert before == [state]
        assert await world.rows("lists", "recipient_count, contact_count") == [
            {"recipient_count": 200, "contact_count": 200}
        ]
        assert (first.counts, second.counts) == (Counts(pulled=1, new=1), Counts(pulled=1, changed=1))

    async def test_adding_renaming_and_deleting_show(self, world: World) -> None:
        old, kept = world.fake.add_list("old"), world.fake.add_list("kept")
        await world.sync("lists")
        kept.name = "renamed"
        del world.fake._lists.all[old.id]
        world.fake.add_list("new")
        outcome = (await world.sync("lists"))["lists"]

        assert await world.rows("lists", "name, is_deleted") == [
            {"name": "new", "is_deleted": False},
            {"name": "old", "is_deleted": True},
            {"name": "renamed", "is_deleted": False},
        ]
        assert outcome.counts == Counts(pulled=2, new=1, changed=1, gone=1)

    async def test_what_comes_back_is_not_deleted_any_more(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        await world.sync("lists")
        del world.fake._lists.all[vip.id]
        await world.sync("lists")
        world.fake._lists.all[vip.id] = vip
        outcome = (await world.sync("lists"))["lists"]

        assert await world.rows("lists", "name, is_deleted") == [{"name": "VIP", "is_deleted": False}]
        assert outcome.counts == Counts(pulled=1, new=1)

    async def test_what_has_not_changed_is_left_alone(self, world: World) -> None:
        world.fake.add_list("VIP")
        await world.sync("lists")
        before = await world.rows("lists")
        outcome = (await world.sync("lists"))["lists"]

        assert await world.rows("lists") == before
        assert outcome.counts == Counts(pulled=1)


class TestSegments:
    async def test_have_the_query_that_makes_them(self, world: World) -> None:
        vip, ada = world.fake.add_list("VIP"), world.fake.add_contact("ada@example.com")
        world.fake.add_segment(
            "fresh", "SELECT contact_id, updated_at FROM contact_data", lists=[vip.id], members=[ada]
        )
        broken = world.fake.add_segment("broken", "SELECT 1")
        broken.error_message = "syntax error"
        await world.sync("segments")

        columns = "name, query_dsl, parent_list_ids, recipient_count, contacts_count, query_validation, error_message"
        broken_row, fresh = await world.rows("segments", columns)
        assert (broken_row["query_validation"], broken_row["error_message"]) == ("INVALID", "syntax error")
        assert fresh == {
            "name": "fresh",
            "query_dsl": "SELECT contact_id, updated_at FROM contact_data",
            "parent_list_ids": [vip.id],
            "recipient_count": 1,
            "contacts_count": 1,
            "query_validation": "VALID",
            "error_message": "",
        }

    async def test_only_one_that_changed_is_asked_for_by_itself(self, world: World) -> None:
        first, second = (world.fake.add_segment(name, f"SELECT '{name}'") for name in ("first", "second"))
        for segment in (first, second):
            segment.updated_at -= 3600
        await world.sync("segments")
        asked = len(world.fake.called("GET", "/v3/marketing/segments/2.0/*"))
        second.query_dsl, second.updated_at = "SELECT 'other'", second.updated_at + 1
        first.counted = 77
        await world.sync("segments")

        assert len(world.fake.called("GET", "/v3/marketing/segments/2.0/*")) == asked + 1 == 3
        assert await world.rows("segments", "query_dsl, recipient_count") == [
            {"query_dsl": "SELECT 'first'", "recipient_count": 77},
            {"query_dsl": "SELECT 'other'", "recipient_count": 0},
        ]

    async def test_a_change_within_the_second_of_the_last_one_is_not_missed(self, world: World) -> None:
        segment = world.fake.add_segment("fresh", "SELECT 1")
        await world.sync("segments")
        segment.query_dsl = "SELECT 2"
        await world.sync("segments")

        assert await world.rows("segments", "query_dsl") == [{"query_dsl": "SELECT 2"}]


class TestCampaigns:
    async def test_have_their_content_and_what_came_of_them(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        may, june = world.fake.add_singlesend("May"), world.fake.add_singlesend("June")
        may.status, may.categories, may.send_at = "triggered", ["news"], "2026-11-20T12:00:00Z"
        may.send_to = {"list_ids": [vip.id], "segment_ids": [], "all": False}
        may.email_config = {
            "subject": "Hello",
            "html_content": "<p>Hi</p>",
            "suppression_group_id": 7,
            "editor": "code",
        }
        may.abtest = {"type": "subject"}
        may.stats = {"delivered": 10, "unique_opens": 4, "clicks": 2}
        await world.sync("campaigns")

        columns = (
            "name, status, categories, toString(send_at) AS send_at, is_abtest, abtest, list_ids, send_to_all, "
            "subject, html_content, suppression_group_id, editor, delivered, unique_opens, clicks, bounces"
        )
        drafted, sent = await world.rows("campaigns", columns)
        assert (drafted["name"], drafted["status"], drafted["delivered"]) == (june.name, "draft", 0)
        assert sent == {
            "name": "May",
            "status": "triggered",
            "categories": ["news"],
            "send_at": "2026-11-20 12:00:00.000",
            "is_abtest": True,
            "abtest": '{"type":"subject"}',
            "list_ids": [vip.id],
            "send_to_all": False,
            "subject": "Hello",
            "html_content": "<p>Hi</p>",
            "suppression_group_id": 7,
            "editor": "code",
            "delivered": 10,
            "unique_opens": 4,
            "clicks": 2,
            "bounces": 0,
        }

    async def test_new_statistics_do_not_need_the_content_again(self, world: World) -> None:
        may = world.fake.add_singlesend("May")
        may.status, may.email_config, may.stats = "triggered", {"subject": "Hello"}, {"opens": 1}
        may.updated_at -= 3600
        await world.sync("campaigns")
        may.stats = {"opens": 2}
        outcome = (await world.sync("campaigns"))["campaigns"]

        assert len(world.fake.called("GET", f"/v3/marketing/singlesends/{may.id}")) == 1
        assert await world.rows("campaigns", "subject, opens") == [{"subject": "Hello", "opens": 2}]
        assert outcome.counts == Counts(pulled=1, changed=1)

    async def test_only_the_list_of_all_says_that_one_is_gone(self, world: World) -> None:
        may = world.fake.add_singlesend("May")
        await world.sync("campaigns")
        world.fake.fail("GET", f"/v3/marketing/singlesends/{may.id}", 404)
        first = (await world.sync("campaigns"))["campaigns"]
        del world.fake._singlesends.all[may.id]
        second = (await world.sync("campaigns"))["campaigns"]

        assert (first.counts, second.counts) == (Counts(pulled=1), Counts(gone=1))


class TestTemplates:
    async def test_have_the_content_of_their_active_version(self, world: World) -> None:
        order = world.fake.add_template("Order", "<p>old</p>", subject="old")
        world.fake._templates.add_version(order, "new", "<p>new</p>", "new", active=True)
        world.fake._templates.add_version(order, "draft", "<p>draft</p>", "draft", active=False)
        world.fake.add_template("Old", "<p>legacy</p>", generation="legacy")
        await world.sync("templates")

        assert await world.rows("templates", "name, generation, subject, html_content, plain_content") == [
            {
                "name": "Old",
                "generation": "legacy",
                "subject": "",
                "html_content": "<p>legacy</p>",
                "plain_content": "",
            },
            {
                "name": "Order",
                "generation": "dynamic",
                "subject": "new",
                "html_content": "<p>new</p>",
                "plain_content": "new",
            },
        ]

    async def test_another_active_version_shows(self, world: World) -> None:
        order = world.fake.add_template("Order", "<p>old</p>")
        order.updated_at -= 3600
        order.versions[0].updated_at -= 3600
        await world.sync("templates")
        new = world.fake._templates.add_version(order, "", "<p>new</p>", "", active=True)
        new.updated_at -= 3600
        await world.sync("templates")

        assert await world.rows("templates", "html_content") == [{"html_content": "<p>new</p>"}]


class TestSuppressions:
    async def test_of_all_kinds_are_in_one_table(self, world: World) -> None:
        suppressions = world.fake.suppressions
        suppressions.add("bounces", "Ada@example.com", created=1_790_000_000, reason="550 no", status="5.1.1")
        suppressions.add("blocks", "ada@example.com", reason="spam")
        suppressions.add("invalid_emails", "x@y", reason="no domain")
        suppressions.add("spam_reports", "bob@example.com", ip="192.0.2.1")
        suppressions.add("unsubscribes", "bob@example.com")
        news = suppressions.add_group("News", "weekly", is_default=True)
        suppressions.leave(news, "eve@example.com")
        outcomes = await world.sync("suppressions", "unsubscribe_groups")

        assert await world.rows("suppressions", "type, email, reason, status, group_id, group_name") == [
            {"type": type_, "email": email, "reason": reason, "status": status, "group_id": group, "group_name": name}
            for type_, email, reason, status, group, name in (
                ("blocks", "ada@example.com", "spam", "", 0, ""),
                ("bounces", "ada@example.com", "550 no", "5.1.1", 0, ""),
                ("group_unsubscribes", "eve@example.com", "", "", 1, "News"),
                ("invalid_emails", "x@y", "no domain", "", 0, ""),
                ("spam_reports", "bob@example.com", "", "", 0, ""),
                ("unsubscribes", "bob@example.com", "", "", 0, ""),
            )
        ]
        assert await world.rows("suppressions", "toUnixTimestamp(created) AS created", "type = 'bounces'") == [
            {"created": 1_790_000_000}
        ]
        assert await world.rows(
            "unsubscribe_groups", "id, name, description, is_default, unsubscribes, is_deleted"
        ) == [
            {
                "id": 1,
                "name": "News",
                "description": "weekly",
                "is_default": True,
                "unsubscribes": 1,
                "is_deleted": False,
            }
        ]
        assert outcomes["suppressions"].counts.pulled == 6

    async def test_one_that_is_removed_while_they_are_read_hides_no_other(self, world: World) -> None:
        """Pages are counted from the first entry: what is behind a removed one moves up."""
        bounces = world.fake.suppressions.entries["bounces"]
        for number in range(1100):
            world.fake.suppressions.add("bounces", f"{number}@example.com")
        await world.sync("suppressions")
        removals = 1

        def remove(call: Call) -> None:
            nonlocal removals
            if removals and call.path.endswith("bounces") and call.query["offset"] != "0":
                removals -= 1
                del bounces[10]

        world.fake.on_call = remove
        outcome = (await world.sync("suppressions"))["suppressions"]

        assert (outcome.counts, outcome.error) == (Counts(pulled=1100), "")
        assert (await world.sync("suppressions"))["suppressions"].counts == Counts(pulled=1099, gone=1)

    async def test_that_change_all_the_time_are_never_marked_as_deleted(self, world: World) -> None:
        for number in range(1100):
            world.fake.suppressions.add("bounces", f"{number}@example.com")
        await world.sync("suppressions")

        def remove(call: Call) -> None:
            if call.path.endswith("bounces") and call.query["offset"] != "0":
                del world.fake.suppressions.entries["bounces"][10]

        world.fake.on_call = remove
        world.fake.suppressions.add("unsubscribes", "ada@example.com")
        outcome = (await world.sync("suppressions"))["suppressions"]

        assert "changed while they were read" in outcome.error
        assert (outcome.counts.new, outcome.counts.gone) == (1, 0)
        assert await world.rows("suppressions", "count() AS deleted", "is_deleted") == [{"deleted": 0}]


class TestRecipients:
    async def test_are_all_contacts_with_all_fields_and_their_lists(self, world: World) -> None:
        fake = world.fake
        plan, seats = fake.add_field("Plan"), fake.add_field("seats", "Number")
        vip, news = fake.add_list("VIP"), fake.add_list("News")
        fields = {name: f"some {name}" for name in RESERVED}
        ada = fake.add_contact(
            "ada@example.com",
            lists=[vip.id, news.id],
            custom={plan.id: "gold", seats.id: 3},
            external_id="u-1",
            alternate_emails=["ada@example.org", "countess@example.com"],
            **fields,
        )
        bob = fake.add_contact("bob@example.com", lists=[news.id])
        fresh = fake.add_segment("fresh", members=[ada])
        outcome = (await world.sync("recipients"))["recipients"]

        columns = (
            f"id, email, external_id, alternate_emails, {', '.join(RESERVED)}, custom_fields, list_ids, segment_ids"
        )
        found = {row["email"]: row for row in await world.rows("recipients", columns)}
        assert outcome.counts == Counts(pulled=2, new=2)
        assert found["ada@example.com"] == fields | {
            "id": ada.id,
            "email": "ada@example.com",
            "external_id": "u-1",
            "alternate_emails": ["ada@example.org", "countess@example.com"],
            "custom_fields": {"Plan": "gold", "seats": "3"},
            "list_ids": sorted([vip.id, news.id]),
            "segment_ids": [fresh.id],
        }
        bobs = found["bob@example.com"]
        assert (bobs["id"], bobs["list_ids"], bobs["segment_ids"], bobs["custom_fields"]) == (bob.id, [news.id], [], {})

    @pytest.mark.parametrize("file_type", ["csv", "json"])
    @pytest.mark.parametrize("form", ["gzip", "plain"])
    async def test_come_in_every_kind_of_file(self, world: World, file_type: Any, form: str) -> None:
        fake = world.fake
        fake.choices.export_file_type, fake.choices.export_gzip = file_type, form == "gzip"
        fake.limits.export_file = 2
        field, vip = fake.add_field("Favourite_Colour"), fake.add_list("VIP")
        for number in range(5):
            fake.add_contact(
                f"{number}@example.com",
                lists=[vip.id],
                custom={field.id: 'light, "blue"\nor green'},
                alternate_emails=[f"{number}@example.org", f"{number}@example.net"],
                first_name="Zoë",
            )
        await world.sync("recipients")

        columns = "email, alternate_emails, first_name, custom_fields, list_ids"
        assert await world.rows("recipients", columns) == [
            {
                "email": f"{number}@example.com",
                "alternate_emails": [f"{number}@example.org", f"{number}@example.net"],
                "first_name": "Zoë",
                "custom_fields": {"Favourite_Colour": 'light, "blue"\nor green'},
                "list_ids": [vip.id],
            }
            for number in range(5)
        ]

    async def test_joining_leaving_and_vanishing_show(self, world: World) -> None:
        fake = world.fake
        vip, news = fake.add_list("VIP"), fake.add_list("News")
        ada, bob = (fake.add_contact(f"{name}@example.com", lists=[vip.id]) for name in ("ada", "bob"))
        fake.add_contact("eve@example.com", lists=[vip.id])
        await world.sync("recipients")
        fake._book.leave([ada.id], [vip.id])
        fake._book.delete([bob.id])
        fake.add_contact("joe@example.com", lists=[news.id])
        outcome = (await world.sync("recipients"))["recipients"]

        assert await world.rows("recipients", "email, list_ids, is_deleted") == [
            {"email": "ada@example.com", "list_ids": [], "is_deleted": False},
            {"email": "bob@example.com", "list_ids": [vip.id], "is_deleted": True},
            {"email": "eve@example.com", "list_ids": [vip.id], "is_deleted": False},
            {"email": "joe@example.com", "list_ids": [news.id], "is_deleted": False},
        ]
        assert outcome.counts == Counts(pulled=3, new=1, changed=1, gone=1)

    async def test_have_the_last_activities_of_our_own_events(self, world: World) -> None:
        world.fake.add_contact("ada@example.com")
        world.fake.add_contact("bob@example.com")
        await world.events("delivered", "ada@example.com", "someone@example.com", at=1_790_000_000)
        await world.events("delivered", "ada@example.com", at=1_790_000_100)
        await world.events("open", "ada@example.com", at=1_790_000_200)
        await world.events("open", "ada@example.com", at=1_790_000_300, sg_machine_open=True)
        await world.sync("recipients")
        times = ", ".join(f"toUnixTimestamp(last_{what}) AS last_{what}" for what in ("emailed", "opened", "clicked"))

        assert await world.rows("recipients", f"email, {times}") == [
            {
                "email": "ada@example.com",
                "last_emailed": 1_790_000_100,
                "last_opened": 1_790_000_200,
                "last_clicked": 0,
            },
            {"email": "bob@example.com", "last_emailed": 0, "last_opened": 0, "last_clicked": 0},
        ]

    async def test_have_sendgrids_last_activities_where_it_gives_them(self, world: World) -> None:
        world.fake.add_contact("ada@example.com", last_opened="2026-11-20T12:00:00Z")
        await world.events("open", "ada@example.com", at=1_790_000_200)
        await world.sync("recipients")

        assert await world.rows("recipients", "toString(last_opened) AS opened") == [
            {"opened": "2026-11-20 12:00:00.000"}
        ]

    async def test_a_failed_export_is_asked_for_again(self, world: World) -> None:
        world.fake.add_contact("ada@example.com")
        world.fake.plan_export(failure="too many exports")
        outcome = (await world.sync("recipients"))["recipients"]

        assert outcome.counts == Counts(pulled=1, new=1)

    async def test_an_export_that_always_fails_says_why(self, world: World) -> None:
        world.fake.add_contact("ada@example.com")
        for _ in range(3):
            world.fake.plan_export(failure="too many exports")
        outcome = (await world.sync("recipients"))["recipients"]

        assert "too many exports" in outcome.error
        assert await world.rows("recipients") == []

    async def test_links_that_expire_are_asked_for_again(self, world: World) -> None:
        world.fake.limits.export_file = 1
        for number in range(3):
            world.fake.add_contact(f"{number}@example.com")
        expired = Respond(403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
        world.fake.fail("GET", "/storage/*", expired, skip=1)
        outcome = (await world.sync("recipients"))["recipients"]

        assert outcome.counts == Counts(pulled=3, new=3)
        assert len(world.fake.exports) == 2
        assert not any("authorization" in call.headers for call in world.fake.called("GET", "/storage/*"))

    async def test_a_download_that_breaks_off_is_begun_again(self, world: World) -> None:
        for number in range(3):
            world.fake.add_contact(f"{number}@example.com")
        world.fake.fail("GET", "/storage/*", Cut(40), times=2)
        outcome = (await world.sync("recipients"))["recipients"]

        assert outcome.counts == Counts(pulled=3, new=3)
        assert len(world.fake.exports) == 1

    async def test_a_list_that_is_deleted_meanwhile_has_nobody(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        world.fake.add_contact("ada@example.com", lists=[vip.id])

        def delete(call: Call) -> None:
            if b"list_ids" in call.content:
                del world.fake._lists.all[vip.id]

        world.fake.on_call = delete
        outcome = (await world.sync("recipients"))["recipients"]

        assert outcome.counts == Counts(pulled=1, new=1)
        assert await world.rows("recipients", "list_ids") == [{"list_ids": []}]

    async def test_a_list_that_cannot_be_exported_loses_nobody(self, world: World) -> None:
        vip = world.fake.add_list("VIP")
        world.fake.add_contact("ada@example.com", lists=[vip.id])
        await world.sync("recipients")
        world.fake.fail("POST", "/v3/marketing/contacts/exports", 404, skip=1)
        outcome = (await world.sync("recipients"))["recipients"]

        assert "404" in outcome.error
        assert await world.rows("recipients", "list_ids") == [{"list_ids": [vip.id]}]

    async def test_a_file_that_is_missing_marks_nobody_as_deleted(self, world: World) -> None:
        world.fake.limits.export_file = 2
        for number in range(5):
            world.fake.add_contact(f"{number}@example.com")
        await world.sync("recipients")
        world.fake.add_contact("new@example.com")
        world.fake.fail("GET", "/storage/*", Respond(200, b""), skip=1, times=None)
        outcome = (await world.sync("recipients"))["recipients"]

        assert "SendGrid counted 6 contacts, its files have 2" in outcome.error
        assert outcome.counts.gone == 0
