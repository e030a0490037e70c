"""What becomes of a mail: on the real engine, against a SendGrid that behaves as documented."""

import asyncio
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from aiohttp import ClientTimeout
from prometheus_client import REGISTRY

from connectors.errors import Fatal
from connectors.kafka import Record
from schemas.normalize import Normalizer
from streams.mail.book import MailBook
from streams.mail.resolving import is_abandoned, resolve, send_abandoned
from streams.mail.sender import AT_ONCE, Wanted, _Group
from tests.fakes.faults import LOST_ANSWER, Drop, Fault, Hang, Respond
from tests.streams.mail.office import CrashError, Office

SEND = ("POST", "/v3/mail/send")


class TestSending:
    async def test_a_call_becomes_a_mail(self, office: Office) -> None:
        call = office.call(name="Ada")
        await office.say(call)

        (body,) = office.bodies
        (entry,) = await office.entries(call)
        assert body["personalizations"][0]["to"] == [{"email": "p1@example.com"}]
        assert body["personalizations"][0]["dynamic_template_data"] == {"email": "p1@example.com", "name": "Ada"}
        assert (entry.state, entry.rule, entry.email, entry.user_id) == (
            "sent",
            "Order Shipped",
            "p1@example.com",
            "u1",
        )
        assert (entry.message_id, entry.template_id, entry.call) == (call.message_id, office.template, "")
        assert entry.sg_message_id == office.fake.mail.sent[0].message_id
        assert not office.unacknowledged

    async def test_mail_to_somebody_who_is_no_contact_works(self, office: Office) -> None:
        await office.say(office.call())

        assert not office.fake.contacts
        assert len(office.fake.mail.sent) == 1

    async def test_each_rule_of_an_event_sends_its_own(self, office: Office) -> None:
        office.configure(office.rule(), office.rule(to="stock@example.com", name="stock"), office.rule(event="Other"))
        call = office.call()
        await office.say(call)

        assert [body["personalizations"][0]["to"][0]["email"] for body in office.bodies] == [
            "p1@example.com",
            "stock@example.com",
        ]
        assert await office.states(call) == ["sent", "sent"]

    async def test_a_repeated_call_sends_nothing_however_late(self, office: Office) -> None:
        call = office.call("one")
        await office.say(call, call)
        office.fake.clock.advance(40 * 86_400)
        office.restart()
        await office.say(office.call("one"))

        assert len(office.fake.mail.sent) == 1

    async def test_the_sandbox_delivers_nothing(self, office: Office) -> None:
        office.configure(office.rule(sandbox=True))
        call = office.call()
        await office.say(call)

        assert await office.states(call) == ["sandboxed"]
        assert (len(office.fake.mail.sent), len(office.fake.mail.checked)) == (0, 1)

    async def test_many_are_sent_in_few_inserts(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = [office.call() for _ in range(1200)]
        inserts = 0
        insert = office.clickhouse.insert

        async def counted(table: str, lines: Iterable[bytes]) -> None:
            nonlocal inserts
            inserts += 1
            await insert(table, lines)

        monkeypatch.setattr(office.clickhouse, "insert", counted)
        await office.say(*calls)

        assert len(office.fake.mail.sent) == 1200
        assert inserts == 9  # three groups: sending, claims, outcomes

    async def test_its_events_come_back_under_the_same_user(self, office: Office) -> None:
        call = office.call()
        await office.say(call)
        event = office.fake.mail.sent[0].event("delivered", office.fake.clock.now())

        assert event["uid"] == "u1"
        assert event["gridstream_rule"] == "Order Shipped"
        assert [event["gridstream_message_id"]] == office.ids(call)

    async def test_a_record_that_is_only_processed_again_sends_nothing(self, office: Office) -> None:
        call = office.call()
        await office.say(call, headers=[("replay", b"1")])

        assert not office.fake.mail.sent
        assert await office.states(call) == []


class TestRefusals:
    async def test_what_sendgrid_would_refuse_is_put_aside_before_it_is_sent(self, office: Office) -> None:
        bad, good = office.call(email="nobody"), office.call()
        await office.say(bad, good)

        assert await office.states(bad, good) == ["refused", "sent"]
        assert len(office.fake.called(*SEND)) == 1
        (letter,) = office.kafka.rows.values()
        assert (letter["step"], letter["topic"], letter["state"]) == ("mail", "gridstream.mails", "waiting")
        assert letter["reason"].startswith("rule Order Shipped: to: found 'nobody', expected an address")
        assert letter["payload"] == bad.record().decode()

    async def test_what_sendgrid_refuses_all_the_same_is_put_aside(self, office: Office) -> None:
        answer = {"errors": [{"field": "template_id", "message": "no such template"}]}
        office.fake.fail(*SEND, Respond(400, answer))
        call = office.call()
        await office.say(call)

        assert await office.states(call) == ["refused"]
        (letter,) = office.kafka.rows.values()
        assert "no such template" in letter["reason"]

    async def test_a_refused_one_is_sent_when_it_is_replayed(self, office: Office) -> None:
        office.configure(office.rule(to="$.properties.to"))
        call = office.call()
        await office.say(call)
        (letter,) = office.kafka.rows.values()
        await office.replay(letter)
        assert "; again: " in office.kafka.rows[letter["id"]]["reason"]

        office.configure(office.rule())
        await office.replay(letter)
        await office.say(call)

        assert await office.states(call) == ["sent"]
        assert len(office.fake.mail.sent) == 1
        assert office.kafka.rows[letter["id"]]["state"] == "replayed"

    async def test_a_replay_concerns_the_refused_rule_only(self, office: Office) -> None:
        office.configure(office.rule(), office.rule(name="copy", to="$.properties.copy"))
        call = office.call()
        await office.say(call)
        (letter,) = office.kafka.rows.values()
        office.configure(office.rule(), office.rule(name="copy", to="copy@example.com"))
        await office.replay(letter)

        assert await office.states(call) == ["sent", "sent"]
        assert len(office.fake.mail.sent) == 2

    async def test_a_late_one_is_put_aside_and_a_replay_sends_it(self, office: Office) -> None:
        office.configure(office.rule(max_age=3600))
        late, timely = office.call(age=3700), office.call(age=3500)
        await office.say(late, timely)

        assert await office.states(late, timely) == ["late", "sent"]
        (letter,) = office.kafka.rows.values()
        assert letter["reason"] == "rule Order Shipped: max_age: it is 3,700 seconds late"
        await office.replay(letter)
        assert await office.states(late) == ["sent"]

    async def test_one_that_becomes_late_while_it_waits_is_not_sent(self, office: Office) -> None:
        office.configure(office.rule(max_age=30))
        office.fake.fail(*SEND, 503, times=8)
        call = office.call()
        await office.say(call)

        assert await office.states(call) == ["late"]
        assert not office.fake.mail.sent

    async def test_a_record_that_is_no_call_is_put_aside(self, office: Office) -> None:
        await office.hear(Record(None, b"[1]"), Record(None, b"{}"), Record(None, b"\xff"))

        assert len(office.kafka.rows) == 3
        assert not office.unacknowledged

    async def test_a_call_whose_rule_is_gone_is_put_aside_and_a_replay_sends_it(self, office: Office) -> None:
        call = office.call(event="Gone")
        await office.say(call)
        (letter,) = office.kafka.rows.values()
        assert "no rule" in letter["reason"]

        office.configure(office.rule(event="Gone"))
        await office.replay(letter)
        assert await office.states(call) == ["sent"]
        assert office.kafka.rows[letter["id"]]["state"] == "replayed"

    async def test_when_too_many_are_refused_the_rest_waits_for_a_person(self, office: Office) -> None:
        office.fake.fail(*SEND, 400, times=None)
        calls = [office.call() for _ in range(40)]
        with pytest.raises(Fatal, match="too many mails of the rule Order Shipped are refused"):
            await office.say(*calls)

        states = await office.states(*calls)
        assert states.count("refused") == 10
        assert states.count("waiting") == 30
        assert office.unacknowledged


class TestWaiting:
    async def test_a_rate_limit_is_waited_for(self, office: Office) -> None:
        office.fake.rates.set(*SEND, requests=30, seconds=20)
        calls = [office.call() for _ in range(100)]
        began = office.fake.clock.now()
        await office.say(*calls)

        assert await office.states(*calls) == ["sent"] * 100
        assert office.fake.clock.now() - began >= 60

    @pytest.mark.parametrize("fault", [Respond(503), Respond(429)])
    async def test_what_was_certainly_not_sent_is_sent_later(self, office: Office, fault: Fault) -> None:
        office.fake.fail(*SEND, fault, times=5)
        calls = [office.call() for _ in range(10)]
        await office.say(*calls)

        assert await office.states(*calls) == ["sent"] * 10
        assert len(office.fake.mail.sent) == 10

    async def test_a_refused_connection_is_tried_again(self, office: Office) -> None:
        url, pause = office.api._url, office.sender._pause
        office.api._url = "http://127.0.0.1:1"

        async def until_it_is_back(seconds: float) -> None:
            office.api._url = url
            await pause(seconds)

        office.sender._pause = until_it_is_back
        call = office.call()
        await office.say(call)

        assert await office.states(call) == ["sent"]

    @pytest.mark.parametrize("status", [401, 403, 301])
    async def test_a_key_that_may_not_send_or_a_wrong_address_stops_the_sending_and_loses_nothing(
        self, office: Office, status: int
    ) -> None:
        office.fake.fail(*SEND, status, times=3)
        calls = [office.call() for _ in range(3)]
        began = office.fake.clock.now()
        await office.say(*calls)

        assert await office.states(*calls) == ["sent"] * 3
        assert office.fake.clock.now() - began >= 60

    async def test_while_it_waits_a_mail_is_said_to_wait(self, office: Office) -> None:
        office.fake.fail(*SEND, 503)
        call = office.call()
        seen = []
        pause = office.sender._pause

        async def looking(seconds: float) -> None:
            seen.extend(await office.states(call))
            await pause(seconds)

        office.sender._pause = looking
        await office.say(call)

        assert seen == ["waiting"]

    async def test_nobody_takes_over_what_somebody_waits_with(self, office: Office) -> None:
        office.fake.fail(*SEND, 503, times=20)
        calls = [office.call() for _ in range(3)]
        abandoned = []
        pause = office.sender._pause

        async def looking(seconds: float) -> None:
            await pause(seconds)
            abandoned.extend([entry.id for entry in await office.entries(*calls) if is_abandoned(entry)])

        office.sender._pause = looking
        began = office.fake.clock.now()
        await office.say(*calls)

        assert office.fake.clock.now() - began > 400
        assert not abandoned
        assert await office.states(*calls) == ["sent"] * 3

    async def test_what_another_worker_has_now_is_left_to_it(self, office: Office) -> None:
        office.fake.fail(*SEND, 503)
        call = office.call()
        office.fake.on_answer = lambda _: setattr(office.sender, "owns", lambda _: False)
        await office.say(call)
        assert await office.states(call) == ["waiting"]
        assert office.unacknowledged

        office.fake.on_answer = None
        office.restart()
        await office.say()
        assert await office.states(call) == ["sent"]

    async def test_what_nobody_waits_for_any_more_is_sent(self, office: Office) -> None:
        office.fake.fail(*SEND, 503)
        call = office.call()
        office.fake.on_answer = lambda _: setattr(office.sender, "owns", lambda _: False)
        await office.say(call)
        office.fake.on_answer = None
        office.restart()
        office.unacknowledged = []
        (entry,) = await office.entries(call)
        producer: Any = office.kafka
        await send_abandoned([entry], producer)
        assert not office.kafka.published

        office.fake.clock.advance(301)
        await send_abandoned([entry], producer)
        await office.hear(*(record for _, record in office.kafka.published))
        assert await office.states(call) == ["sent"]


DOUBTFUL = (Respond(500), Respond(502), Respond(504), Respond(520), Drop(), LOST_ANSWER, Respond(500, applied=True))


class TestDoubt:
    @pytest.mark.parametrize("fault", DOUBTFUL)
    async def test_what_may_have_been_sent_is_held(self, office: Office, fault: Fault) -> None:
        office.fake.fail(*SEND, fault)
        calls = [office.call() for _ in range(3)]
        await office.say(*calls)
        await office.say(*calls)

        assert sorted(await office.states(*calls)) == ["sent", "sent", "uncertain"]
        assert all(office.times_sent(mail) <= 1 for mail in office.ids(*calls))
        assert not office.unacknowledged

    async def test_an_answer_of_which_only_the_beginning_arrives_is_an_answer(self, office: Office) -> None:
        office.fake.fail(*SEND, Respond(202, {"long": "x" * 100}, applied=True))
        call = office.call()
        await office.say(call)

        assert await office.states(call) == ["sent"]

    async def test_a_call_that_takes_too_long_is_in_doubt(self, office: Office) -> None:
        office.api._session._timeout = ClientTimeout(total=0.2)
        office.fake.fail(*SEND, Hang(applied=True))
        call = office.call()
        await office.say(call)

        assert await office.states(call) == ["uncertain"]
        assert len(office.fake.mail.sent) == 1

    async def test_while_sendgrid_is_broken_few_are_left_in_doubt(self, office: Office) -> None:
        office.fake.fail(*SEND, 500, times=AT_ONCE + 5)
        calls = [office.call() for _ in range(AT_ONCE * 3)]
        await office.say(*calls)

        states = await office.states(*calls)
        assert states.count("uncertain") == AT_ONCE + 5
        assert states.count("sent") == AT_ONCE * 2 - 5

    async def test_an_event_resolves_the_doubt(self, office: Office) -> None:
        office.fake.fail(*SEND, LOST_ANSWER)
        call = office.call()
        await office.say(call)
        await resolve(office.book)
        assert await office.states(call) == ["uncertain"]

        mail = office.fake.mail.sent[0]
        at = office.fake.clock.now()
        event = mail.event("processed", at)
        (line,) = (each.line for each in Normalizer("uid")(orjson.dumps([event]), int(at * 1000)).events)
        await office.clickhouse.insert(f"{office.database}.processed_rows", [line])
        await resolve(office.book)

        (entry,) = await office.entries(call)
        assert entry.state == "sent"
        assert entry.sg_message_id.startswith(mail.message_id)

    async def test_a_person_may_have_it_sent_again_once(self, office: Office) -> None:
        office.fake.fail(*SEND, Drop())
        call = office.call()
        await office.say(call)
        (entry,) = await office.entries(call)
        await office.resend(entry)
        await office.resend(entry)

        assert await office.states(call) == ["sent"]
        assert len(office.fake.mail.sent) == 1

    async def test_what_a_person_drops_is_not_sent(self, office: Office) -> None:
        office.fake.fail(*SEND, Drop())
        call = office.call()
        await office.say(call)
        (entry,) = await office.entries(call)
        await office.book.write([entry.now("dropped", entry.changed_at)])
        await office.resend(entry)

        assert await office.states(call) == ["dropped"]
        assert not office.fake.mail.sent

    async def test_two_workers_never_send_the_same_mail(self, office: Office) -> None:
        call = office.call()
        other = office.agent
        office.restart()
        waiting, go = asyncio.Event(), asyncio.Event()
        claim = office.book.claim

        async def slowly(*arguments: Any) -> set[str]:
            waiting.set()
            await go.wait()
            return await claim(*arguments)

        office.sender._book = MailBook(office.clickhouse, office.database)
        office.sender._book.claim = slowly  # type: ignore[assignment, method-assign]
        slow = asyncio.ensure_future(office.say(call))
        await waiting.wait()
        fast = [Wanted(rule, call, call.record(), 0) for rule in office.rules.of(call)]
        await other._sender._send_all(
            _Group({each.id: each for each in fast}, {each.id: each.entry() for each in fast}), set()
        )
        go.set()
        await slow

        assert len(office.fake.mail.sent) == 1
        assert await office.states(call) == ["sent"]


class TestCrashes:
    @pytest.mark.parametrize("steps", range(12))
    async def test_a_crash_at_any_step_sends_nothing_twice_and_loses_nothing(self, office: Office, steps: int) -> None:
        calls = [office.call(), office.call(email="nobody"), office.call()]
        office.crash_after(steps)
        try:
            await office.say(*calls)
        except CrashError:
            office.restart()
        office.heal()
        await office.say()

        first, refused, last = await office.states(*calls)
        assert refused == "refused"
        assert set(office.kafka.rows) == {office.ids(calls[1])[0]}
        for state, call in ((first, calls[0]), (last, calls[2])):
            (mail,) = office.ids(call)
            assert state in ("sent", "uncertain")
            assert office.times_sent(mail) == 1 if state == "sent" else office.times_sent(mail) <= 1


async def test_metrics_say_what_became_of_mails_what_waits_and_how_long_it_took(office: Office) -> None:
    rule = office.database + office.prefix

    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"gridstream_{name}", labels) or 0.0

    office.configure(office.rule(name=rule))
    letters = value("dead_letters_total", source=office.database, step="mail")
    away = office.fake.fail(*SEND, 503, times=None)
    waiting = []

    async def pause(seconds: float) -> None:
        await office.pause(seconds)
        waiting.append(value("mails_waiting"))
        away.stop()

    office.sender._pause = pause
    await office.say(office.call(age=7), office.call(age=7), office.call(email="nobody"))
    office.fake.fail(*SEND, LOST_ANSWER)
    await office.say(office.call())

    states = {state: value("mails_total", rule=rule, state=state) for state in ("sent", "refused", "uncertain")}
    assert states == {"sent": 2, "refused": 1, "uncertain": 1}
    assert value("dead_letters_total", source=office.database, step="mail") == letters + 1
    assert (waiting, value("mails_waiting")) == ([2, 0], 0)
    assert value("mail_seconds_count", rule=rule) == 2
    assert value("mail_seconds_sum", rule=rule) >= 14
