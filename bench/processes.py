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
    """What a process has used since it started."""
    times = psutil.Process(pid).cpu_times()
    return Cost(times.user + times.system, peak_mb(pid))


def held_mb(pid: int) -> int:
    """The memory that a process holds just now."""
    return int(psutil.Process(pid).memory_info().rss) >> 20


def peak_mb(pid: int) -> int:
    """The most memory that a process has held at once; 0: it has ended.

    Raises:
        FileNotFoundError, ProcessLookupError: there is no such process.
    """
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) >> 10 for line in status if line.startswith("VmHWM")), 0)
