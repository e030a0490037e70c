"""Segments, Single Sends, templates, suppressions: what is only read, mostly (facts 2.5, 2.7, 3, 7.1)."""

from typing import Any

import pytest

from tests.fakes.conftest import Caller
from tests.fakes.sendgrid import FakeSendGrid

SEGMENTS = "/v3/marketing/segments/2.0"
SENDS = "/v3/marketing/singlesends"


class TestSegments:
    async def test_are_listed_at_once_under_results(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.5: not paged."""
        vip = fake.add_list("VIP")
        ada = fake.add_contact("ada@example.com")
        fresh, stale = fake.add_segment("fresh", members=[ada]), fake.add_segment("stale", lists=[vip.id])
        stale.counted = 1000

        async def names(**query: str) -> list[tuple[str, int]]:
            body = (await call("GET", SEGMENTS, **query)).body
            return [(each["name"], each["contacts_count"]) for each in body["results"]]

        assert await names() == [("fresh", 1), ("stale", 1000)]
        assert await names(ids=fresh.id) == [("fresh", 1)]
        assert await names(parent_list_ids=vip.id) == [("stale", 1000)]
        assert await names(no_parent_list_id="true") == [("fresh", 1)]
        assert (await call("GET", SEGMENTS, ids=",".join(f"x{number}" for number in range(51)))).status == 400

    async def test_one_has_its_query_and_a_sample(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.5."""
        ada = fake.add_contact("ada@example.com")
        fresh = fake.add_segment("fresh", "SELECT 1", members=[ada])

        body = (await call("GET", f"{SEGMENTS}/{fresh.id}")).body
        bare = (await call("GET", f"{SEGMENTS}/{fresh.id}", contacts_sample="false")).body

        assert (body["query_dsl"], body["query_version"], body["status"]["query_validation"]) == (
            "SELECT 1",
            "2",
            "VALID",
        )
        assert [each["segment_ids"] for each in body["contacts_sample"]] == [[fresh.id]]
        assert "contacts_sample" not in bare

    async def test_live_their_lives(self, call: Caller) -> None:
        """Facts 2.5: 201, 200, 202; names are unique."""
        made = await call("POST", SEGMENTS, {"name": "a", "query_dsl": "SELECT 1"})
        path = f"{SEGMENTS}/{made.body['id']}"

        assert made.status == 201
        assert (await call("POST", SEGMENTS, {"name": "a", "query_dsl": "SELECT 1"})).status == 400
        assert (await call("PATCH", path, {"name": "b", "query_dsl": "SELECT 2"})).body["query_dsl"] == "SELECT 2"
        assert (await call("DELETE", path)).status == 202
        assert (await call("GET", path)).status == 404

    async def test_refresh_once_an_hour_and_twice_a_day(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.5; facts 0: the error has a form of its own."""
        path = f"{SEGMENTS}/refresh/{fake.add_segment('a').id}"
        replies = []
        for _ in range(4):
            replies += [await call("POST", path, {"user_time_zone": "Europe/Paris"})]
            fake.clock.advance(1801)

        assert [reply.status for reply in replies] == [202, 429, 202, 429]
        assert replies[-1].body.keys() == {"error"}


class TestSingleSends:
    async def test_are_paged(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.7."""
        for number in range(3):
            fake.add_singlesend(str(number))
        first = (await call("GET", SENDS, page_size="2")).body
        second = (await call("GET", first["_metadata"]["next"])).body

        assert [len(each["result"]) for each in (first, second)] == [2, 1]
        assert "send_to" not in first["result"][0]

    async def test_are_made_as_drafts_changed_and_deleted(self, call: Caller) -> None:
        """Facts 2.7: 201, 202, 204; `now` is an error at creation."""
        made = await call(
            "POST", SENDS, {"name": "May", "send_at": "2026-12-01T12:00:00Z", "email_config": {"subject": "s"}}
        )
        path = f"{SENDS}/{made.body['id']}"
        changed = await call("PATCH", path, {"name": "June", "categories": ["news"]})
        copied = await call("POST", path)

        assert (made.status, made.body["status"], made.body["warnings"]) == (201, "draft", [])
        assert (changed.status, changed.body["name"], changed.body["email_config"]) == (202, "June", {"subject": "s"})
        assert (copied.status, copied.body["name"], copied.body["categories"]) == (201, "Copy of June", ["news"])
        assert (await call("GET", f"{SENDS}/categories")).body == {"categories": ["news"]}
        assert (await call("POST", SENDS, {"name": "May", "send_at": "now"})).status == 400
        assert (await call("DELETE", path)).status == 204
        assert (await call("DELETE", SENDS, ids=copied.body["id"])).status == 204
        assert (await call("DELETE", SENDS, ids=",".join(f"x{number}" for number in range(51)))).status == 400
        assert (await call("GET", SENDS)).body["result"] == []

    async def test_are_scheduled_found_and_counted(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 2.7: 201, 200; statistics only of what was sent, 50 a page at most."""
        may, june = fake.add_singlesend("May"), fake.add_singlesend("June")
        may.stats["delivered"] = 5

        assert (await call("PUT", f"{SENDS}/{may.id}/schedule", {"send_at": "now"})).status == 201
        assert (await call("PUT", f"{SENDS}/{june.id}/schedule", {"send_at": "2026-12-01T12:00:00Z"})).status == 201
        found = (await call("POST", f"{SENDS}/search", {"status": ["triggered"]})).body["result"]
        stats = (await call("GET", "/v3/marketing/stats/singlesends", page_size="50")).body["results"]
        one = (await call("GET", f"/v3/marketing/stats/singlesends/{may.id}")).body["results"]

        assert [each["name"] for each in found] == ["May"]
        assert [(each["id"], each["stats"]["delivered"], each["stats"]["opens"]) for each in stats] == [(may.id, 5, 0)]
        assert one == stats
        assert (await call("DELETE", f"{SENDS}/{june.id}/schedule")).status == 200
        assert (june.status, june.send_at) == ("draft", None)


class TestTemplates:
    async def test_are_legacy_unless_asked_and_need_a_page_size(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 3."""
        dynamic = fake.add_template("Order", "<p>{{name}}</p>", subject="{{id}}")
        fake.add_template("Old", generation="legacy")

        async def names(**query: str) -> list[str]:
            return [
                each["name"] for each in (await call("GET", "/v3/templates", page_size="200", **query)).body["result"]
            ]

        assert dynamic.id.startswith("d-")
        assert await names() == ["Old"]
        assert await names(generations="dynamic") == ["Order"]
        assert len(await names(generations="legacy,dynamic")) == 2
        assert (await call("GET", "/v3/templates")).status == 400
        assert (await call("GET", "/v3/templates", page_size="201")).status == 400

    async def test_one_has_the_content_of_its_versions(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 3: `active` is 0 or 1."""
        order = fake.add_template("Order", "<p>{{name}}</p>", subject="{{id}}", active=False)

        (version,) = (await call("GET", f"/v3/templates/{order.id}")).body["versions"]

        assert (version["active"], version["html_content"], version["subject"]) == (0, "<p>{{name}}</p>", "{{id}}")
        assert (await call("GET", "/v3/templates/d-nothing")).status == 404


class TestSuppressions:
    @pytest.mark.parametrize("kind", ["bounces", "blocks", "invalid_emails", "spam_reports", "unsubscribes"])
    async def test_are_bare_arrays_with_limit_offset_and_times(
        self, fake: FakeSendGrid, call: Caller, kind: Any
    ) -> None:
        """Facts 7.1: 500 at once."""
        for number in range(501):
            fake.suppressions.add(kind, f"{number}@example.com", created=number, reason="550")
        path = f"/v3/suppression/{kind}"

        first = (await call("GET", path)).body
        second = (await call("GET", path, limit="500", offset="500")).body
        some = (await call("GET", path, start_time="10", end_time="12")).body

        assert (len(first), len(second)) == (500, 1)
        assert second == [{"created": 500, "email": "500@example.com", "reason": "550"}]
        assert [each["created"] for each in some] == [10, 11, 12]

    async def test_groups_and_who_left_them(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 7.1: bare arrays."""
        group = fake.suppressions.add_group("News", "monthly", is_default=True)
        fake.suppressions.leave(group, "ada@example.com")

        assert (await call("GET", "/v3/asm/groups")).body == [
            {"id": 1, "name": "News", "description": "monthly", "is_default": True, "unsubscribes": 1}
        ]
        assert [(each["email"], each["group_id"]) for each in (await call("GET", "/v3/asm/suppressions")).body] == [
            ("ada@example.com", 1)
        ]

    async def test_need_their_scope(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 4."""
        call.key = fake.add_key(["marketing.read"])

        assert (await call("GET", "/v3/suppression/bounces")).status == 403
        assert (await call("GET", "/v3/asm/groups")).status == 403


class TestSenders:
    async def test_pools_domains_and_tracking(self, fake: FakeSendGrid, call: Caller) -> None:
        """Facts 6.1: what the pickers of the hosted action read."""
        fake.senders.pools.append("news")
        fake.senders.domains |= {"example.com": True, "example.org": False}
        fake.senders.tracking["open"] = False

        assert (await call("GET", "/v3/ips/pools")).body == [{"name": "news"}]
        domains = (await call("GET", "/v3/whitelabel/domains", limit="200")).body
        assert [(each["domain"], each["valid"]) for each in domains] == [("example.com", True), ("example.org", False)]
        assert (await call("GET", "/v3/tracking_settings/open")).body == {"enabled": False}
        assert (await call("GET", "/v3/tracking_settings/smell")).status == 404
