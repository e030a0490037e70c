"""Points at which a test can have a process die, freeze or wait, to reach by plan what a crash reaches by luck.

The variable FAILPOINT of the environment switches one on: `point=action:marker`. It acts once: when the process gets
there and the file `marker` exists, which is then removed. Without the variable, reaching a point costs a comparison.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Literal, NamedTuple

Point = Literal[
    "before publishing",
    "after publishing",
    "before inserting",
    "after inserting",
    "before committing",
    "after committing",
    "rebalancing",
]
_WAIT_STEP_SECONDS = 0.01


class _Plan(NamedTuple):
    point: str
    action: str
    marker: Path


def _planned(text: str) -> _Plan | None:
    if not text:
        return None
    point, _, rest = text.partition("=")
    action, _, marker = rest.partition(":")
    return _Plan(point, action, Path(marker))


_PLAN = _planned(os.environ.get("FAILPOINT", ""))


async def reach(point: Point) -> None:
    """Do here what was planned, if it was: `kill` or `stop` the process, or `wait` for a file `marker`.go."""
    plan = _PLAN
    if plan is None or plan.point != point:
        return
    try:
        plan.marker.unlink()
    except FileNotFoundError:
        return
    if plan.action == "wait":
        plan.marker.with_suffix(".reached").touch()
        while not plan.marker.with_suffix(".go").exists():  # noqa: ASYNC110  a test's file
            await asyncio.sleep(_WAIT_STEP_SECONDS)
    else:
        os.kill(os.getpid(), signal.SIGKILL if plan.action == "kill" else signal.SIGSTOP)
