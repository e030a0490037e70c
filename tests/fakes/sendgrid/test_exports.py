"""Exports of contacts (facts 2.4)."""

import csv
import gzip
from typing import Any

import aiohttp
import orjson
import pytest

from tests.fakes.clock import iso
from tests.fakes.conftest import NOON, Caller
from tests.fakes.faults import Cut
from tests.fakes.sendgrid import FakeSendGrid

EXPORTS = "/v3/marketing/contacts/exports"


async def exported(fake: FakeSendGrid, call: Caller, body: Any = None) -> Any:
    """The state of an export that has had the time it takes."""
    made = await call("POST", EXPORTS, body)
    assert made.status == 202, made
    assert made.body["_metadata"]["self"] == f"{fake.url}{EXPORTS}/{made.body['id']}"
    fake.clock.advance(1)
    return (await call("GET", f"{EXPORTS}/{made.body['id']}")).body


async def downloaded(call: Caller, url: str) -> bytes:
    key, call.key = call.key, ""
    try:
        reply = await call("GET", url)
    finally:
        call.key = key
    assert reply.status == 200, reply
    return bytes(reply.body)


async def test_take_time(fake: FakeSendGrid, call: Caller) -> None:
    """`pending`, then `ready` with urls, contact_count, completed_at, expires_at."""
    fake.add_contact("ada@example.com")
    made = (await call("POST", EXPORTS)).body

    pending = (await call("GET", f"{EXPORTS}/{made['id']}")).body
    fake.clock.advance(1)
    ready = (await call("GET", f"{EXPORTS}/{made['id']}")).body

    assert (pending["status"], pending["export_type"]) == ("pending", "contacts_export")
    assert "urls" not in pending
    assert (ready["status"], ready["contact_count"], len(ready["urls"])) == ("ready", 1, 1)
    assert {"completed_at", "expires_at"} <= ready.keys()
    assert (await call("GET", f"{EXPORTS}/nothing")).status == 404


async def test_can_fail(fake: FakeSendGrid, call: Caller) -> None:
    """The word is `failure`, with a message."""
    fake.plan_export(failure="too many exports")

    body = await exported(fake, call)

    assert (body["status"], body["message"]) == ("failure", "too many exports")
    assert "urls" not in body


async def test_links_refuse_a_key_and_expire(fake: FakeSendGrid, call: Caller) -> None:
    """Pre-signed; 72 hours."""
    (url,) = (await exported(fake, call))["urls"]

    assert (await call("GET", url)).status == 400
    await downloaded(call, url)
    call.key = ""
    fake.clock.advance(72 * 3600)
    assert (await call("GET", url)).status == 403


async def test_csv_has_headers_in_upper_case_and_no_lists(fake: FakeSendGrid, call: Caller) -> None:
    """Gzip, even for CSV."""
    plan, vip = fake.add_field("plan"), fake.add_list("VIP")
    ada = fake.add_contact("ada@example.com", lists=[vip.id], first_name='A, "a"', custom={plan.id: "gold"})

    (url,) = (await exported(fake, call))["urls"]
    (row,) = csv.DictReader(gzip.decompress(await downloaded(call, url)).decode().splitlines())

    assert (row["CONTACT_ID"], row["EMAIL"], row["FIRST_NAME"], row["PLAN"]) == (
        ada.id,
        "ada@example.com",
        'A, "a"',
        "gold",
    )
    assert row["CREATED_AT"] == iso(NOON)
    assert "LIST_IDS" not in row


async def test_json_has_one_object_a_line(fake: FakeSendGrid, call: Caller) -> None:
    """The key is `contact_id`, custom fields are nested by name, empty fields omitted."""
    plan = fake.add_field("plan")
    ada = fake.add_contact("ada@example.com", custom={plan.id: "gold"})
    fake.add_contact("bob@example.com")

    (url,) = (await exported(fake, call, {"file_type": "json"}))["urls"]
    lines = [orjson.loads(line) for line in gzip.decompress(await downloaded(call, url)).splitlines()]

    assert lines[0]["contact_id"] == ada.id
    assert lines[0]["custom_fields"] == {"plan": "gold"}
    assert lines[1].keys() == {"contact_id", "email", "created_at", "updated_at"}


async def test_files_are_plain_sometimes(fake: FakeSendGrid, call: Caller) -> None:
    """So sniff the magic bytes."""
    fake.choices.export_gzip = False

    (url,) = (await exported(fake, call))["urls"]

    assert (await downloaded(call, url)).startswith(b"CONTACT_ID,")


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5])
async def test_come_in_several_files(fake: FakeSendGrid, call: Caller, number: int) -> None:
    """When a file would be larger than asked for; each has its header."""
    fake.limits.export_file = 2
    for each in range(number):
        fake.add_contact(f"{each}@example.com")

    urls = (await exported(fake, call))["urls"]
    rows = [
        row["EMAIL"]
        for url in urls
        for row in csv.DictReader(gzip.decompress(await downloaded(call, url)).decode().splitlines())
    ]

    assert len(urls) == max(1, (number + 1) // 2)
    assert rows == [f"{each}@example.com" for each in range(number)]


async def test_are_split_by_max_file_size(fake: FakeSendGrid, call: Caller) -> None:
    """In megabytes."""
    for each in range(3000):
        fake.add_contact(f"{each}@example.com", postal_code="x" * 600)

    assert len((await exported(fake, call, {"max_file_size": 1}))["urls"]) == 3


async def test_of_lists_and_segments(fake: FakeSendGrid, call: Caller) -> None:
    """With `ID` and `Name` capitalised in the list of exports."""
    vip = fake.add_list("VIP")
    ada = fake.add_contact("ada@example.com", lists=[vip.id])
    fake.add_contact("bob@example.com")
    fresh = fake.add_segment("fresh", members=[ada])

    of_list = await exported(fake, call, {"list_ids": [vip.id]})
    of_segment = await exported(fake, call, {"segment_ids": [fresh.id]})
    listed = (await call("GET", EXPORTS)).body["result"]

    assert of_list["contact_count"] == of_segment["contact_count"] == 1
    assert [(each["export_type"], each["lists"]) for each in listed] == [
        ("list_export", [{"ID": vip.id, "Name": "VIP"}]),
        ("segment_export", []),
    ]
    assert (await call("POST", EXPORTS, {"list_ids": ["x"]})).status == 404
    assert (await call("POST", EXPORTS, {"file_type": "xml"})).status == 400


async def test_downloads_can_break_off(fake: FakeSendGrid, call: Caller) -> None:
    """As any download can."""
    fake.add_contact("ada@example.com")
    (url,) = (await exported(fake, call))["urls"]
    fake.fail("GET", "/storage/*", Cut(20))

    with pytest.raises(aiohttp.ClientPayloadError):
        await downloaded(call, url)
    assert b"ada@example.com" in gzip.decompress(await downloaded(call, url))


async def test_have_the_contacts_of_when_they_were_finished(fake: FakeSendGrid, call: Caller) -> None:
    fake.choices.export_gzip = False
    fake.add_contact("ada@example.com", city="Paris")
    (url,) = (await exported(fake, call))["urls"]
    await call.upsert({"email": "ada@example.com", "city": "Rome"})

    assert b"Paris" in await downloaded(call, url)
