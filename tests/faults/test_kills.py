"""kill -9 of each process at each point where it matters."""

import pytest

from tests.faults.catalogue import fault
from tests.faults.rig import Rig

_NOTHING = "nothing: rows are seconds late"
_AGAIN = "a post without an answer, which SendGrid repeats"

DEATHS = [
    pytest.param(process, point, marks=fault(f"kill -9 of {process}, {when}", seen=seen), id=f"{process}-{point}")
    for process, point, when, seen in (
        ("ingress", "before-publishing", "before it publishes", _AGAIN),
        ("ingress", "after-publishing", "after publishing, before it answers", _AGAIN),
        ("normalize", "before-publishing", "before it publishes", _NOTHING),
        ("normalize", "after-publishing", "after publishing, before it acknowledges", _NOTHING),
        ("normalize", "before-committing", "before it commits", _NOTHING),
        ("normalize", "after-committing", "after it has committed", _NOTHING),
        ("store", "before-inserting", "before it inserts", _NOTHING),
        ("store", "after-inserting", "after inserting, before it acknowledges", _NOTHING),
        ("store", "before-committing", "before it commits", _NOTHING),
        ("store", "after-committing", "after it has committed", _NOTHING),
    )
]


@pytest.mark.parametrize(("process", "point"), DEATHS)
async def test_a_process_that_dies_at_any_point_loses_and_repeats_nothing(rig: Rig, process: str, point: str) -> None:
    async with rig.load() as load:
        await rig.dies(process, point)
        await load.more(100)
