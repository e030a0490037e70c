"""Having users deleted in Amplitude."""

from collections.abc import AsyncIterator

import pytest

from connectors.amplitude import HTTP_V2, Amplitude
from connectors.amplitude_deletions import AmplitudeDeletions
from connectors.errors import Reject, Retry
from connectors.http import UnauthorizedError
from tests.connectors.test_amplitude import EVENTS
from tests.fakes.amplitude import FakeAmplitude
from tests.fakes.clock import Clock
from tests.fakes.conftest import NOON
from tests.fakes.faults import Drop, Respond


@pytest.fixture
async def fake() -> AsyncIterator[FakeAmplitude]:
    async with FakeAmplitude(Clock(NOON)) as fake, Amplitude(fake.api_key, fake.url, 1) as amplitude:
        await amplitude.send(HTTP_V2, EVENTS)
        yield fake


@pytest.fixture
async def deletions(fake: FakeAmplitude) -> AsyncIterator[AmplitudeDeletions]:
    async with AmplitudeDeletions(fake.api_key, fake.secret_key, fake.url) as deletions:
        yield deletions


async def test_users_are_deleted_on_a_day_that_amplitude_names(
    fake: FakeAmplitude, deletions: AmplitudeDeletions
) -> None:
    assert await deletions.delete(["ada", "nobody"], "gridstream") == "2026-12-01"
    assert fake.deletions == [["ada"]]
    assert fake.calls[-1].body["requester"] == "gridstream"


async def test_nobody_whom_amplitude_knows_is_no_job(fake: FakeAmplitude, deletions: AmplitudeDeletions) -> None:
    assert await deletions.delete(["nobody"], "gridstream") == ""
    assert fake.deletions == []


async def test_more_than_it_takes_is_refused(deletions: AmplitudeDeletions) -> None:
    with pytest.raises(Reject):
        await deletions.delete([str(number) for number in range(101)], "gridstream")


async def test_a_wrong_secret_is_told(fake: FakeAmplitude) -> None:
    async with AmplitudeDeletions(fake.api_key, "wrong", fake.url) as deletions:
        with pytest.raises(UnauthorizedError):
            await deletions.delete(["ada"], "gridstream")


@pytest.mark.parametrize("fault", [Drop(), Respond(503), Respond(429)])
async def test_what_passes_is_waited_for(
    fake: FakeAmplitude, deletions: AmplitudeDeletions, fault: Drop | Respond
) -> None:
    fake.fail("POST", "/api/2/deletions/users", fault)
    with pytest.raises(Retry):
        await deletions.delete(["ada"], "gridstream")

    assert await deletions.delete(["ada"], "gridstream")
