"""What retries and refusals may cost."""

import pytest

from connectors.errors import Fatal, Reject, Retry
from streams.delivery import Refusals, persistently


def refused(refusals: Refusals) -> int:
    """How many refusals in a row are still put aside."""
    for count in range(10_000):
        try:
            refusals.refused("rows", "Cannot parse")
        except Fatal:
            return count
    raise AssertionError


class TestRefusals:
    def test_a_process_that_has_just_begun_puts_few_aside(self) -> None:
        assert refused(Refusals()) == 10

    def test_one_that_has_done_well_puts_a_burst_aside_and_no_topic(self) -> None:
        refusals = Refusals()
        refusals.accepted(1_000_000)

        assert refused(refusals) == 100

    def test_a_tenth_may_be_refused_for_ever(self) -> None:
        refusals = Refusals()
        for _ in range(10_000):
            refusals.accepted(10)
            refusals.refused("rows", "Cannot parse")

    def test_a_quarter_may_not(self) -> None:
        refusals = Refusals()

        def process() -> None:
            for _ in range(10_000):
                refusals.accepted(3)
                refusals.refused("rows", "Cannot parse")

        with pytest.raises(Fatal, match=r"too many rows are refused.*Cannot parse"):
            process()


class TestPersistently:
    async def test_what_cannot_be_done_now_is_tried_until_it_can(self) -> None:
        attempts = iter([Retry("not now"), Retry("busy", after=0.0), None])

        async def attempt() -> str:
            if error := next(attempts):
                raise error
            return "done"

        assert await persistently("something", attempt) == "done"

    @pytest.mark.parametrize("error", [Reject("never"), Fatal("stop")])
    async def test_what_can_never_be_done_is_not_tried_again(self, error: Exception) -> None:
        attempts = []

        async def attempt() -> None:
            attempts.append(1)
            raise error

        with pytest.raises(type(error)):
            await persistently("something", attempt)
        assert len(attempts) == 1
