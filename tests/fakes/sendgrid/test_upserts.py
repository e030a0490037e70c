"""Adding and updating contacts, and their jobs (facts 1)."""

import csv
from typing import Any

import pytest

from tests.fakes.conftest import Caller
from tests.fakes.sendgrid import FakeSendGrid

CONTACTS = "/v3/marketing/contacts"
ADA = {"email": "ada@example.com"}


class TestRequests:
    async def test_are_queued(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1: 202 with a job id: queued, not done."""
        reply = await call("PUT", CONTACTS, {"contacts": [ADA]})

        assert reply.status == 202
        assert reply.body.keys() == {"job_id"}
        assert not fake.contacts
        fake.clock.advance(1)
        assert [contact.email for contact in fake.contacts.values()] == ["ada@example.com"]

    @pytest.mark.parametrize("contacts", [None, [], {}, ["ada@example.com"]])
    async def test_have_a_list_of_contacts(self, call: Caller, contacts: object) -> None:
        """Facts 1: required, at least one."""
        assert (await call("PUT", CONTACTS, {"contacts": contacts})).status == 400

    async def test_have_at_most_30000_rows(self, call: Caller) -> None:
        """Facts 1."""
        rows = [{"email": f"{number}@example.com"} for number in range(30_001)]

        assert (await call("PUT", CONTACTS, {"contacts": rows})).status == 400
        assert (await call("PUT", CONTACTS, {"contacts": rows[1:]})).status == 202

    async def test_have_at_most_6_megabytes(self, call: Caller) -> None:
        """Facts 1: whichever is hit first."""
        rows = [{"email": f"{number}@example.com", "postal_code": "x" * 1000} for number in range(6_000)]

        assert (await call("PUT", CONTACTS, {"contacts": rows})).status == 400

    async def test_one_malformed_address_refuses_all(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.4: the index in the field is not to be trusted."""
        reply = await call("PUT", CONTACTS, {"contacts": [ADA, {"email": "bob at example.com"}]})

        assert reply.status == 400
        assert reply.body["errors"] == [
            {"field": "contacts[0].identifier", "message": "email 'bob at example.com' is not valid"}
        ]
        fake.clock.advance(1)
        assert not fake.contacts
        assert not fake.jobs

    @pytest.mark.parametrize(
        "email", ["", "a", "a@b", "@example.com", "a b@example.com", "a..b@example.com", "a@-b.com"]
    )
    async def test_addresses_that_are_malformed(self, call: Caller, email: str) -> None:
        """Facts 1.2."""
        assert (await call("PUT", CONTACTS, {"contacts": [{"email": email}]})).status == 400

    async def test_an_address_can_be_refused_without_being_named(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 9: the body for such cases is not known."""
        fake.choices.refused_emails = {"ada@example.com", "bob@example.com"}
        rows = [ADA, {"email": "bob@example.com"}, {"email": "cy@example.com"}]

        assert len((await call("PUT", CONTACTS, {"contacts": rows})).messages) == 2
        fake.choices.names_all_bad_emails = False
        fake.choices.bad_email_message = "invalid email"
        assert (await call("PUT", CONTACTS, {"contacts": rows})).messages == ["invalid email"]

    @pytest.mark.parametrize(
        "row",
        [
            {"first_name": "Ada"},
            ADA | {"first_name": "a" * 51},
            ADA | {"city": 5},
            ADA | {"alternate_emails": [f"{number}@example.com" for number in range(6)]},
            ADA | {"alternate_emails": [5]},
            ADA | {"alternate_emails": "bob@example.com"},
            ADA | {"custom_fields": []},
            {"email": 5},
            ADA | {"custom_fields": {"e9_T": "a"}},
            ADA | {"custom_fields": {"plan": "a"}},
            ADA | {"custom_fields": {"e1_T": 5}},
            ADA | {"custom_fields": {"e1_T": True}},
            ADA | {"custom_fields": {"e2_N": "5"}},
            {"phone_number_id": "12345"},
            {"external_id": "a" * 255},
        ],
    )
    async def test_other_faults_of_a_row_refuse_all(self, fake: FakeSendGrid, call: Caller, row: Any) -> None:
        """Facts 1.1, 1.2, 1.4: no identifier, lengths, types, custom fields by unknown id or by name."""
        fake.add_field("plan")
        fake.add_field("age", "Number")

        assert (await call("PUT", CONTACTS, {"contacts": [row]})).status == 400

    async def test_a_new_custom_field_is_refused_for_a_while(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.4: 400 that mentions "custom field"."""
        fake.timing.field = 60
        await call("POST", "/v3/marketing/field_definitions", {"name": "plan", "field_type": "Text"})
        body = {"contacts": [ADA | {"custom_fields": {"e1_T": "gold"}}]}

        reply = await call("PUT", CONTACTS, body)

        assert reply.status == 400
        assert "custom field" in reply.messages[0]
        fake.clock.advance(60)
        assert (await call("PUT", CONTACTS, body)).status == 202

    @pytest.mark.parametrize("status", [400, 404])
    async def test_an_unknown_list_refuses_all(self, fake: FakeSendGrid, call: Caller, status: Any) -> None:
        """Facts 1.4: 400, and 404 is declared too."""
        fake.choices.unknown_list_status = status

        assert (await call("PUT", CONTACTS, {"contacts": [ADA], "list_ids": ["x"]})).status == status


class TestWriting:
    async def test_keeps_what_is_left_out(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1: patch semantics."""
        plan, age = fake.add_field("plan"), fake.add_field("age", "Number")
        await call.upsert(ADA | {"first_name": "Ada", "city": "Paris", "custom_fields": {plan.id: "gold"}})
        await call.upsert(ADA | {"city": "London", "custom_fields": {age.id: 36}})

        ada = fake.contact("ada@example.com")

        assert ada
        assert ada.fields == {"email": "ada@example.com", "first_name": "Ada", "city": "London"}
        assert fake.custom(ada) == {"plan": "gold", "age": 36}
        assert ada.updated_at > ada.created_at

    async def test_lowers_addresses(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1: any letter case is the lower-case contact."""
        await call.upsert({"email": "Ada@Example.com"})
        await call.upsert({"email": "ADA@example.com", "first_name": "Ada"})

        assert [contact.fields for contact in fake.contacts.values()] == [
            {"email": "ada@example.com", "first_name": "Ada"}
        ]

    async def test_adds_to_lists_and_never_removes(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1: `list_ids` applies to each contact of the request."""
        first, second = fake.add_list("first"), fake.add_list("second")
        await call.upsert(ADA, {"email": "bob@example.com"}, lists=[first.id])
        await call.upsert(ADA, lists=[second.id])

        assert fake.members("first") == {"ada@example.com", "bob@example.com"}
        assert fake.members("second") == {"ada@example.com"}

    async def test_fails_a_row_that_lacks_an_identifier_of_its_contact(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.1: every identifier that a contact has must be present."""
        fake.add_contact("ada@example.com", external_id="1")

        job = await call.job(await call.upsert(ADA, {"email": "bob@example.com"}))
        whole = await call.job(await call.upsert(ADA | {"external_id": "1", "anonymous_id": "2", "city": "Paris"}))

        assert (job["status"], job["results"]["errored_count"], job["results"]["created_count"]) == ("errored", 1, 1)
        assert (whole["status"], whole["results"]["updated_count"]) == ("completed", 1)
        ada = fake.contact("ada@example.com")
        assert ada
        assert ada.fields["anonymous_id"] == "2"

    async def test_or_refuses_the_request_where_chosen(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 9: whether synchronously or in the job is not known."""
        fake.choices.missing_identifiers = "request"
        fake.add_contact("ada@example.com", external_id="1")

        assert (await call("PUT", CONTACTS, {"contacts": [ADA]})).status == 400

    async def test_takes_rows_without_an_address(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.1: at least one of four identifiers."""
        await call.upsert({"phone_number_id": "+15005550006"}, {"external_id": "1"}, {"anonymous_id": "2"})

        assert len(fake.contacts) == 3

    async def test_fails_rows_that_mix_contacts(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.1: identifiers are unique in the account."""
        fake.add_contact("ada@example.com")
        fake.add_contact(external_id="1")

        job = await call.job(await call.upsert(ADA | {"external_id": "1"}))

        assert job["status"] == "failed"

    @pytest.mark.parametrize(
        "row",
        [
            ADA | {"alternate_emails": ["ADA@example.com"]},
            ADA | {"custom_fields": {"e1_T": "a" * 1001}},
            ADA | {"custom_fields": {"e2_D": "1790000000"}},
            ADA | {"custom_fields": {"e2_D": "2026-01-31"}},
            ADA | {"custom_fields": {"e2_D": "02/30/2026"}},
        ],
    )
    async def test_fails_rows_whose_values_do_not_fit(self, fake: FakeSendGrid, call: Caller, row: Any) -> None:
        """Facts 1.2: alternate addresses differ, texts have 1,000 characters, dates are MM/DD/YYYY."""
        fake.add_field("plan")
        fake.add_field("born", "Date")

        job = await call.job(await call.upsert(row))

        assert (job["status"], job["results"]["errored_count"]) == ("failed", 1)
        assert not fake.contacts

    @pytest.mark.parametrize("date", ["01/31/2026", "1/31/2026", "1/1/2026"])
    async def test_takes_dates_with_one_digit(self, fake: FakeSendGrid, call: Caller, date: str) -> None:
        """Facts 1.2."""
        born = fake.add_field("born", "Date")

        assert (await call.job(await call.upsert(ADA | {"custom_fields": {born.id: date}})))["status"] == "completed"

    @pytest.mark.parametrize(("rule", "name", "errored"), [("last wins", "two", 0), ("error", "one", 1)])
    async def test_of_repeated_rows(self, fake: FakeSendGrid, call: Caller, rule: Any, name: str, errored: int) -> None:
        """Facts 1.4: not documented."""
        fake.choices.duplicate_rows = rule

        job = await call.job(await call.upsert(ADA | {"city": "one"}, {"email": "Ada@example.com", "city": "two"}))

        assert [contact.fields["city"] for contact in fake.contacts.values()] == [name]
        assert job["results"]["errored_count"] == errored

    async def test_stops_at_the_contacts_of_the_plan(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.4: a job may fail with a contact-limit message."""
        fake.limits.contacts = 1

        job = await call.job(await call.upsert(ADA, {"email": "bob@example.com"}))

        assert (job["status"], len(fake.contacts)) == ("errored", 1)


class TestJobs:
    async def test_are_pending_until_finished(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.3."""
        job_id = (await call("PUT", CONTACTS, {"contacts": [ADA]})).body["job_id"]
        pending = await call.job(job_id)
        fake.clock.advance(1)
        done = await call.job(job_id)

        assert (pending["status"], pending["job_type"]) == ("pending", "upsert")
        assert "finished_at" not in pending
        assert done == pending | {
            "status": "completed",
            "finished_at": done["finished_at"],
            "results": {
                "requested_count": 1,
                "created_count": 1,
                "updated_count": 0,
                "deleted_count": 0,
                "errored_count": 0,
            },
        }

    async def test_an_unknown_one_is_404(self, call: Caller) -> None:
        assert (await call("GET", f"{CONTACTS}/imports/nothing")).status == 404

    async def test_can_overtake_each_other(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.4: no document guarantees an order between jobs."""
        fake.plan_job(seconds=10)
        await call("PUT", CONTACTS, {"contacts": [ADA | {"city": "first"}]})
        await call.upsert(ADA | {"city": "second"})
        fake.clock.advance(10)

        ada = fake.contact("ada@example.com")

        assert ada
        assert ada.fields["city"] == "first"

    async def test_can_fail_as_a_whole(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.3: `failed` is all rows failed, or unusable."""
        fake.plan_job(fails=True)

        job = await call.job(await call.upsert(ADA))

        assert (job["status"], job["results"]["errored_count"]) == ("failed", 1)
        assert not fake.contacts

    async def test_errors_are_in_a_file_behind_a_link_of_its_own(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.3: a download link, to be fetched without the key."""
        fake.choices.errored_emails = {"bob@example.com": "no such domain"}
        job = await call.job(await call.upsert(ADA, {"email": "bob@example.com"}))
        url = job["results"]["errors_url"]
        with_key = await call("GET", url)
        call.key = ""

        without = await call("GET", url)

        assert (with_key.status, with_key.body.count(b"InvalidArgument")) == (400, 1)
        assert without.status == 200
        (row,) = csv.DictReader(without.body.decode().splitlines())
        assert (row["email"], row["error"]) == ("bob@example.com", "no such domain")
        fake.clock.advance(fake.timing.link)
        assert (await call("GET", url)).status == 403
        assert (await call("GET", url.partition("?")[0])).status == 403
        assert (await call("GET", f"{fake.url}/storage/a/b")).status == 404

    async def test_what_they_wrote_is_found_later(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 1.4: a lookup right after a write can answer 404, or with old values."""
        fake.timing.search_lag = 60
        await call.upsert(ADA)
        search = f"{CONTACTS}/search/emails"

        assert fake.contact("ada@example.com")
        assert (await call("POST", search, {"emails": ["ada@example.com"]})).status == 404
        fake.clock.advance(60)
        assert (await call("POST", search, {"emails": ["ada@example.com"]})).status == 200
        await call.upsert(ADA | {"city": "Paris"})
        found = (await call("POST", search, {"emails": ["ada@example.com"]})).body["result"]
        assert found["ada@example.com"]["contact"]["city"] == ""

    async def test_what_is_seen_never_goes_back(self, fake: FakeSendGrid, call: Caller) -> None:
        fake.timing.removal_lag = 60
        vip = fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com", lists=[vip.id])
        await call("DELETE", f"/v3/marketing/lists/{vip.id}/contacts", contact_ids=ada.id)
        fake.clock.advance(1)
        await call.upsert(ADA, lists=[vip.id])
        fake.clock.advance(60)

        assert fake.visible_contacts[ada.id].list_ids == {vip.id}
