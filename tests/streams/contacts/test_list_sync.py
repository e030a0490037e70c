"""What becomes of a list: on the real engine, against a SendGrid that behaves as documented."""

import time

import pytest

from schemas import contacts
from schemas.cohorts import CohortBatch, contact_update
from streams.contacts import list_sync
from tests.fakes.faults import LOST_ANSWER, Respond
from tests.streams.contacts.town import CrashError, Town

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"
UPLOADS = ("PUT", "/v3/marketing/contacts")
REMOVALS = ("DELETE", "/v3/marketing/lists/*/contacts")


class TestMembers:
    async def test_enter_and_leave(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, BOB, name="VIP")
        await town.flush()
        assert town.lists == {"VIP": {ADA, BOB}}

        await town.say("c1", "exit", ADA, name="VIP")
        await town.flush()
        assert town.lists == {"VIP": {BOB}}
        assert await town.members() == {"VIP": {BOB}}

    async def test_the_last_change_wins_whenever_it_arrives(self, town: Town) -> None:
        await town.say("c1", "exit", ADA, at=2000)
        await town.say("c1", "enter", ADA, BOB, at=1000)
        await town.flush()
        assert town.lists == {"c1": {BOB}}

        await town.say("c1", "exit", BOB, at=500)
        await town.flush()
        assert town.lists == {"c1": {BOB}}

    async def test_of_one_time_the_later_batch_wins(self, town: Town) -> None:
        await town.say("c1", "exit", ADA, at=1000, message_id="m::exit::7")
        await town.say("c1", "enter", ADA, at=1000, message_id="m::enter::3")
        await town.flush()

        assert town.lists == {"c1": set()}

    async def test_a_repeated_message_changes_nothing_however_late(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, at=1000, message_id="one")
        await town.flush()
        await town.say("c1", "exit", ADA, at=2000)
        await town.flush()
        await town.say("c1", "enter", ADA, "nobody", at=1000, message_id="one")
        await town.flush()

        assert town.lists == {"c1": set()}
        assert len(await town.rows("cohort_batches")) == 2

    async def test_who_leaves_without_having_entered_is_left_alone(self, town: Town) -> None:
        vip = town.fake.add_list("c1")
        town.fake.add_contact(ADA, lists=[vip.id])
        await town.say("c1", "exit", ADA, BOB)
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        assert not town.fake.contact(BOB), "nobody is created in order to be removed"
        assert not town.fake.called(*REMOVALS)
        assert not town.fake.called("DELETE", "/v3/marketing/contacts")

    async def test_nothing_is_asked_of_sendgrid_when_nothing_is_pending(self, town: Town) -> None:
        await town.say("c1", "enter", ADA)
        await town.flush()
        calls = len(town.fake.calls)
        town.restart()
        await town.flush(3)

        assert len(town.fake.calls) == calls


class TestConsiderations:
    """Each of what Amplitude's page on its hosted destination asks its users to consider."""

    async def test_duplicate_emails_are_one_contact(self, town: Town) -> None:
        await town.say("c1", "enter", ("u1", {"email": ADA}), ("u2", {"email": ADA}))
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        (sync,) = await town.rows("contact_syncs")
        assert (sync["requested"], sync["state"]) == (1, "completed")

    async def test_an_invalid_email_takes_nobody_along(self, town: Town) -> None:
        await town.say("c1", "enter", ("u1", {"email": "ada at example.com"}), ("u2", {"email": BOB}))
        await town.flush()

        assert town.lists == {"c1": {BOB}}
        (reject,) = await town.rows("contact_rejects")
        assert (reject["list"], reject["user_id"], reject["email"]) == ("c1", "u1", "ada at example.com")
        assert "@" in reject["reason"]

    async def test_missing_names_are_left_as_they_are(self, town: Town) -> None:
        town.fake.add_contact(ADA, first_name="Ada", last_name="Lovelace")
        await town.say("c1", "enter", (ADA, {"last_name": "King"}), BOB)
        await town.flush()

        assert town.fake.contact(ADA).fields["first_name"] == "Ada"  # type: ignore[union-attr]
        assert town.fake.contact(ADA).fields["last_name"] == "King"  # type: ignore[union-attr]
        assert town.lists == {"c1": {ADA, BOB}}

    async def test_a_missing_email_is_counted_and_skipped(self, town: Town) -> None:
        await town.say("c1", "enter", ("u1", {"plan": "pro"}), ("u2", {"email": ""}), BOB)
        await town.flush()
        await town.say("c1", "enter", ("u3", {}))
        await town.flush(2)

        assert town.lists == {"c1": {BOB}}
        syncs = await town.rows("contact_syncs", order="started_at")
        assert [(sync["requested"], sync["skipped_no_email"]) for sync in syncs] == [(1, 2), (0, 1)]

    async def test_letter_case_does_not_tell_people_apart(self, town: Town) -> None:
        await town.say("c1", "enter", ("u1", {"email": "Ada@Example.COM"}), ("u2", {"email": ADA}))
        await town.flush()
        await town.say("c1", "exit", ("u1", {"email": "ADA@EXAMPLE.com"}))
        await town.flush()

        assert town.lists == {"c1": set()}

    async def test_new_contacts_are_made_and_existing_ones_reused(self, town: Town) -> None:
        known = town.fake.add_contact(ADA)
        await town.say("c1", "enter", ADA, BOB)
        await town.flush()

        assert town.lists == {"c1": {ADA, BOB}}
        assert town.fake.contact(ADA).id == known.id  # type: ignore[union-attr]
        (sync,) = await town.rows("contact_syncs")
        assert (sync["created"], sync["updated"], sync["errored"]) == (1, 1, 0)


class TestFields:
    async def test_traits_go_where_the_settings_say(self, town: Town) -> None:
        for name, kind in (("plan", "Text"), ("Seats", "Number"), ("renewal", "Date"), ("uid", "Text")):
            town.fake.add_field(name, kind)  # type: ignore[arg-type]
        town.configure(user_id_field="uid", custom_fields={"tier": "plan"})
        traits = {"email": ADA, "first_name": "Ada", "tier": "pro", "seats": "12", "renewal": "2026-12-24", "x": 1}
        await town.say("c1", "enter", ("u1", traits))
        await town.flush()

        contact = town.fake.contact(ADA)
        assert contact
        assert town.fake.custom(contact) == {"plan": "pro", "Seats": 12, "renewal": "12/24/2026", "uid": "u1"}

    async def test_what_is_not_said_again_stays(self, town: Town) -> None:
        await town.say("c1", "enter", (ADA, {"first_name": "Ada", "last_name": "Byron"}))
        await town.say("c1", "enter", (ADA, {"last_name": "King"}))
        await town.flush()

        assert len(town.fake.called(*UPLOADS)) == 1
        contact = town.fake.contact(ADA)
        assert contact
        assert (contact.fields["first_name"], contact.fields["last_name"]) == ("Ada", "King")

    async def test_a_missing_field_is_made_and_people_wait_until_it_is_usable(self, town: Town) -> None:
        town.fake.timing.field = 100
        town.configure(custom_fields={"seats": "seats"}, create_custom_fields=True)
        await town.say("c1", "enter", (ADA, {"seats": 5}))
        await town.flush()
        assert not town.fake.contacts

        town.fake.clock.advance(100)
        town.forgive()
        await town.flush()
        contact = town.fake.contact(ADA)
        assert contact
        assert town.fake.custom(contact) == {"seats": 5}

    async def test_a_missing_field_that_is_not_to_be_made_is_left_out(self, town: Town) -> None:
        town.configure(custom_fields={"seats": "seats"})
        await town.say("c1", "enter", (ADA, {"seats": 5}))
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        assert not town.fake.fields


class TestLists:
    async def test_an_existing_list_of_the_name_is_used_whichever_page_it_is_on(self, town: Town) -> None:
        for number in range(1200):
            town.fake.limits.lists = 2000
            town.fake.add_list(f"other {number}")
        vip = town.fake.add_list("VIP")
        await town.say("c1", "enter", ADA, name="VIP")
        await town.flush()

        assert town.fake.members(vip.id) == {ADA}
        assert not town.fake.called("POST", "/v3/marketing/lists")

    async def test_a_renamed_cohort_renames_its_list(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, name="Old")
        await town.flush()
        await town.say("c1", "enter", BOB, name="New")
        await town.flush()

        assert town.lists == {"New": {ADA, BOB}}

    async def test_two_cohorts_of_one_name_have_two_lists(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, name="VIP")
        await town.say("c2", "enter", BOB, name="VIP")
        await town.flush()

        assert sorted(town.lists.values(), key=str) == [{ADA}, {BOB}]
        assert town.lists["VIP"] == {ADA}

    async def test_a_long_name_is_cut_and_stays_its_own(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, name="x" * 120 + "1")
        await town.say("c2", "enter", BOB, name="x" * 120 + "2")
        await town.flush()

        assert sorted(map(sorted, town.lists.values())) == [[ADA], [BOB]]
        assert all(len(name) <= 100 for name in town.lists)

    async def test_a_list_that_was_deleted_is_made_anew_with_everybody(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, BOB, EVE)
        await town.flush()
        await town.say("c1", "exit", EVE)
        await town.flush()
        town.fake.lists.clear()  # type: ignore[attr-defined]
        await town.say("c1", "exit", BOB)
        await town.flush()

        assert town.lists == {"c1": {ADA}}

    async def test_an_account_that_is_full_says_so(self, town: Town) -> None:
        town.fake.limits.lists = 0
        await town.say("c1", "enter", ADA)
        await town.flush()

        (sync,) = await town.rows("contact_syncs")
        assert sync["state"] == "failed"
        assert "at most 1,000 lists" in sync["message"]

        town.fake.limits.lists = 1
        town.forgive()
        await town.flush()
        assert town.lists == {"c1": {ADA}}


class TestRefusals:
    async def test_an_address_that_is_named_is_taken_out_and_the_rest_is_sent(self, town: Town) -> None:
        town.fake.choices.refused_emails = {BOB}
        await town.say("c1", "enter", ADA, BOB, EVE)
        await town.flush()

        assert town.lists == {"c1": {ADA, EVE}}
        (reject,) = await town.rows("contact_rejects")
        assert (reject["email"], "not valid" in reject["reason"]) == (BOB, True)
        (sync,) = await town.rows("contact_syncs")
        assert (sync["state"], sync["requested"], sync["errored"]) == ("errored", 3, 1)

    async def test_an_address_that_is_not_named_is_found_by_halving(self, town: Town) -> None:
        town.fake.choices.refused_emails = {BOB}
        town.fake.choices.bad_email_message = "one of them is not good"
        others = {f"p{number}@example.com" for number in range(20)}
        await town.say("c1", "enter", BOB, *others)
        await town.flush()

        assert town.lists == {"c1": others}
        assert [reject["email"] for reject in await town.rows("contact_rejects")] == [BOB]

    async def test_a_row_that_fails_in_the_job_is_joined_to_its_person(self, town: Town) -> None:
        town.fake.choices.errored_emails = {BOB: "mailbox is on fire"}
        await town.say("c1", "enter", ("u1", {"email": ADA}), ("u2", {"email": BOB}))
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        (reject,) = await town.rows("contact_rejects")
        assert reject["user_id"] == "u2"
        assert "on fire" in reject["reason"]
        (sync,) = await town.rows("contact_syncs")
        assert (sync["state"], sync["errored"]) == ("errored", 1)

    async def test_who_was_refused_is_tried_again_when_something_new_is_said(self, town: Town) -> None:
        town.fake.choices.errored_emails = {BOB: "not now"}
        await town.say("c1", "enter", BOB)
        await town.flush()
        town.fake.choices.errored_emails = {}
        await town.flush(2)
        assert town.lists == {"c1": set()}

        await town.say("c1", "enter", BOB)
        await town.flush()
        assert town.lists == {"c1": {BOB}}

    @pytest.mark.parametrize("where", ["job", "request"])
    async def test_a_contact_with_further_identifiers_is_sent_again_with_them(self, town: Town, where: str) -> None:
        town.fake.choices.missing_identifiers = where  # type: ignore[assignment]
        town.fake.add_contact(ADA, external_id="x-1", phone_number_id="+4915112345678")
        await town.say("c1", "enter", ADA, BOB)
        await town.flush()

        assert town.lists == {"c1": {ADA, BOB}}
        assert not await town.rows("contact_rejects")

    async def test_what_grows_by_identifiers_is_sent_in_more_pieces(
        self, town: Town, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        people = {f"p{number:02}@example.com" for number in range(20)}
        for email in people:
            town.fake.add_contact(email, external_id="x" * 100 + email)
        await town.say("c1", "enter", *people)
        monkeypatch.setattr(contacts, "MOST_BYTES", 1000)
        await town.flush()

        assert town.lists == {"c1": people}
        assert all(len(call.content) <= 1000 for call in town.fake.called(*UPLOADS))

    async def test_a_job_that_fails_as_a_whole_is_tried_again(self, town: Town) -> None:
        town.fake.plan_job(fails=True)
        await town.say("c1", "enter", ADA, BOB)
        await town.flush()
        town.forgive()
        await town.flush()

        assert town.lists == {"c1": {ADA, BOB}}

    async def test_when_too_many_are_refused_the_rest_waits_for_a_person(self, town: Town) -> None:
        people = [f"p{number:03}@example.com" for number in range(300)]
        town.fake.choices.errored_emails = dict.fromkeys(people, "the account is over its limit")
        await town.say("c1", "enter", *people)
        await town.flush()
        assert len(await town.rows("contact_rejects")) < 300
        assert (await town.account.memberships.pending("c1"))[0] > 0

        town.fake.choices.errored_emails = {}
        town.forgive()
        await town.flush()
        refused = {reject["email"] for reject in await town.rows("contact_rejects")}
        assert town.lists["c1"] | refused == set(people)


class TestLeaving:
    async def test_who_does_not_resolve_yet_is_taken_off_later(self, town: Town) -> None:
        town.fake.timing.search_lag = 600
        await town.say("c1", "enter", ADA)
        await town.flush()
        await town.say("c1", "exit", ADA)
        await town.flush()
        assert town.lists == {"c1": {ADA}}

        town.restart()
        town.fake.clock.advance(600)
        await town.flush()
        assert town.lists == {"c1": set()}
        assert await town.account.memberships.pending("c1") == (0, 0)

    async def test_who_is_deleted_in_sendgrid_is_let_go_after_a_day(self, town: Town) -> None:
        await town.say("c1", "enter", ADA)
        await town.flush()
        await town.delete(ADA)
        await town.say("c1", "exit", ADA)
        await town.flush()
        assert await town.account.memberships.pending("c1") == (0, 1)

        town.fake.clock.advance(25 * 3600)
        town.forgive()
        await town.flush()
        assert await town.account.memberships.pending("c1") == (0, 0)

    async def test_a_removal_that_takes_long_is_asked_for_until_it_is_seen(self, town: Town) -> None:
        town.fake.timing.removal_lag = 30
        await town.say("c1", "enter", ADA, BOB)
        await town.flush()
        await town.say("c1", "exit", ADA, BOB)
        await town.flush()

        assert town.lists == {"c1": set()}
        (*_, removal) = await town.rows("contact_syncs", order="started_at")
        assert (removal["state"], removal["requested"], removal["removed"]) == ("completed", 2, 2)

    async def test_many_leave_in_pieces_that_fit(self, town: Town) -> None:
        people = [f"p{number:03}@example.com" for number in range(450)]
        await town.say("c1", "enter", *people, ADA)
        await town.flush()
        await town.say("c1", "exit", *people)
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        assert len(town.fake.called(*REMOVALS)) == 3

    async def test_one_contact_that_is_gone_does_not_keep_the_others(self, town: Town) -> None:
        await town.say("c1", "enter", ADA, BOB, EVE)
        await town.flush()
        await town.say("c1", "exit", ADA, BOB, EVE)
        town.fake.timing.search_lag = 3600
        await town.delete(ADA)
        await town.flush()

        assert town.lists == {"c1": set()}


class TestFaults:
    async def test_a_lost_answer_repeats_the_upload(self, town: Town) -> None:
        town.fake.fail(*UPLOADS, LOST_ANSWER)
        await town.say("c1", "enter", ADA)
        await town.flush()

        assert town.lists == {"c1": {ADA}}

    async def test_rate_limits_are_waited_out(self, town: Town) -> None:
        reset = int(town.fake.clock.now()) + 30
        headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
        town.fake.fail("*", "*", Respond(429, {"errors": [{"message": "too many requests"}]}, headers), times=2)
        began = town.fake.clock.now()
        await town.say("c1", "enter", ADA)
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        assert town.fake.clock.now() - began >= 29

    async def test_a_key_that_is_refused_says_so_and_loses_nothing(self, town: Town) -> None:
        await town.say("c1", "enter", ADA)
        failing = town.fake.fail(
            "*", "*", Respond(401, {"errors": [{"message": "authorization required"}]}), times=None
        )
        await town.flush()
        (sync,) = await town.rows("contact_syncs")
        assert (sync["state"], "401" in sync["message"]) == ("failed", True)

        failing.stop()
        town.forgive()
        await town.flush()
        assert town.lists == {"c1": {ADA}}

    @pytest.mark.parametrize("moment", ["on_call", "on_answer"])
    async def test_after_a_crash_an_exit_still_finds_who_was_being_sent(self, town: Town, moment: str) -> None:
        town.fake.plan_job(seconds=100)
        town.fake.add_contact(ADA)
        town.crash_at(*UPLOADS, moment)
        await town.say("c1", "enter", ADA)
        with pytest.raises(CrashError):
            await town.flush()
        town.restart()
        await town.say("c1", "exit", ADA)
        await town.flush()
        town.fake.clock.advance(list_sync._LOST_MS)
        town.forgive()
        await town.flush(2)

        assert town.lists == {"c1": set()}

    async def test_a_job_that_was_running_at_a_crash_is_followed_up(self, town: Town) -> None:
        town.fake.choices.errored_emails = {BOB: "no"}
        town.crash_at("GET", "/v3/marketing/contacts/imports/*", "on_call")
        await town.say("c1", "enter", ADA, BOB)
        with pytest.raises(CrashError):
            await town.flush()
        town.restart()
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        assert len(town.fake.called(*UPLOADS)) == 1
        assert [reject["email"] for reject in await town.rows("contact_rejects")] == [BOB]

    async def test_a_job_that_sendgrid_has_forgotten_is_begun_again(self, town: Town) -> None:
        town.crash_at("GET", "/v3/marketing/contacts/imports/*", "on_call")
        await town.say("c1", "enter", ADA)
        with pytest.raises(CrashError):
            await town.flush()
        town.restart()
        town.fake.fail("GET", "/v3/marketing/contacts/imports/*", 404)
        await town.flush()

        assert town.lists == {"c1": {ADA}}

    async def test_a_list_that_another_worker_has_now_is_not_touched(self, town: Town) -> None:
        await town.say("c1", "enter", ADA)
        town.fake.on_call = lambda _: setattr(town, "owned", False)
        await town.flush()
        calls = len(town.fake.calls)
        assert calls == 1

        town.fake.on_call = None
        town.owned = True
        town.restart()
        await town.flush()
        assert town.lists == {"c1": {ADA}}

    async def test_the_link_to_a_report_gets_no_key(self, town: Town) -> None:
        town.fake.choices.errored_emails = {BOB: "no"}
        await town.say("c1", "enter", BOB)
        await town.flush()

        (call,) = town.fake.called("GET", "/storage/*")
        assert "authorization" not in call.headers


class TestContacts:
    """News of contacts that are about no list."""

    async def test_are_written_without_a_list(self, town: Town) -> None:
        town.fake.add_field("plan")
        await town.hear(update(town, "m1", 1, {"email": ADA, "first_name": "Ada", "plan": "free", "city": "London"}))
        await town.hear(update(town, "m2", 2, {"email": ADA, "plan": "pro"}), update(town, "m3", 3, {"plan": "none"}))
        await town.flush()

        contact = town.fake.contact(ADA)
        assert contact
        assert (contact.fields["first_name"], contact.fields["city"]) == ("Ada", "London")
        assert town.fake.custom(contact) == {"plan": "pro"}
        assert not town.fake.lists
        assert len(town.fake.called(*UPLOADS)) == 1

    async def test_one_that_is_refused_takes_nobody_along(self, town: Town) -> None:
        town.fake.choices.errored_emails = {BOB: "no"}
        await town.hear(*(update(town, email, 1, {"email": email}) for email in (ADA, BOB, EVE)))
        await town.flush()

        assert {contact.email for contact in town.fake.contacts.values()} == {ADA, EVE}
        assert [reject["email"] for reject in await town.rows("contact_rejects")] == [BOB]

    async def test_leave_lists_as_they_are(self, town: Town) -> None:
        await town.say("c1", "enter", ADA)
        await town.flush()
        await town.hear(update(town, "m1", 1, {"email": ADA, "first_name": "Ada"}))
        await town.flush()

        assert town.lists == {"c1": {ADA}}
        assert (await town.members()) == {"c1": {ADA}}


def update(town: Town, message_id: str, at: int, traits: dict[str, object]) -> CohortBatch:
    """News of one contact."""
    return contact_update(town.account.name, int(time.time() * 1000), at, message_id, "u1", traits)


class TestSizes:
    async def test_an_upload_is_as_full_as_sendgrid_takes(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(contacts, "MOST_ROWS", 100)
        monkeypatch.setattr(list_sync, "MOST_ROWS", 100)
        await town.say("c1", "enter", *(f"p{number:03}@example.com" for number in range(250)))
        await town.flush()

        assert [len(call.body["contacts"]) for call in town.fake.called(*UPLOADS)] == [100, 100, 50]

    async def test_a_body_stays_below_the_limit(self, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(contacts, "MOST_BYTES", 2000)
        await town.say("c1", "enter", *((f"p{number:03}@example.com", {"last_name": "x" * 40}) for number in range(60)))
        await town.flush()

        uploads = town.fake.called(*UPLOADS)
        assert all(1800 < len(call.content) <= 2000 for call in uploads[:-1])
        assert len(town.lists["c1"]) == 60
