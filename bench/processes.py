"""What a process has used, as Linux accounts for it."""

from pathlib import Path
from typing import NamedTuple

import psutil


class Cost(NamedTuple):
    """What one process used.

    Attributes:
        seconds: of CPU.
        peak_mb: of memory, since it started.
    """

    seconds: float
    peak_mb: int


def cost(pid: int) -> Cost:
    """What a process and its children have used since they started."""
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    times = [each.cpu_times() for each in family]
    return Cost(sum(each.user + each.system for each in times), sum(peak_mb(each.pid) for each in family))


def peak_mb(pid: int) -> int:
    """The most memory that a process has held at once; 0: it has ended.

    Raises:
        FileNotFoundError, ProcessLookupError: there is no such process.
    """
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM")), 0)
