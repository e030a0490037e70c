"""gridstream with a clock that is wrong: `python -m tests.faults.clock FILE ingress`; FILE says by how many seconds."""

import sys
import time
from pathlib import Path

_FILE = Path(sys.argv[1])
_true = time.time


def _wrong() -> float:
    try:
        return _true() + float(_FILE.read_text())
    except (FileNotFoundError, ValueError):  # nothing has been said yet, or is being written
        return _true()


time.time = _wrong
sys.argv = ["gridstream", *sys.argv[2:]]

from streams.cli import main  # noqa: E402  after the clock is wrong

main()
