"""Points at which a test can have a process die, freeze or wait, to reach by plan what a crash reaches by luck.

The variable FAILPOINTS of the environment names a folder. A file in it, named like a point and an action, say
`after-inserting.kill`, is acted upon once, by whoever gets there first and removes it. Without the variable, reaching a
point costs a comparison.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Literal

Point = Literal[
    "before-publishing",
    "after-publishing",
    "before-inserting",
    "after-inserting",
    "before-sending",
    "after-sending",
    "before-deleting",
    "after-deleting",
    "before-committing",
    "after-committing",
    "rebalancing",
]
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
_WAIT_STEP_SECONDS = 0.01

_FOLDER = Path(folder) if (folder := os.environ.get("FAILPOINTS")) else None


async def reach(point: Point) -> None:
    """Do here what was planned, if it was: `kill` or `stop` the process, or `wait` until a file `point.go` is there."""
    if _FOLDER is None:
        return
    for action, number in _SIGNALS.items():
        if _taken(_FOLDER / f"{point}.{action}"):
            os.kill(os.getpid(), number)
    if _taken(_FOLDER / f"{point}.wait"):
        (_FOLDER / f"{point}.reached").touch()
        while not (_FOLDER / f"{point}.go").exists():  # noqa: ASYNC110  the test is another process
            await asyncio.sleep(_WAIT_STEP_SECONDS)


def _taken(plan: Path) -> bool:
    try:
        plan.unlink()
    except FileNotFoundError:
        return False
    return True
