"""Covering addresses in log files: a server's complaint about a row may quote it."""

import mmap
import re
from collections.abc import Collection
from pathlib import Path

_COVER = b"*"


def mask(folder: Path, people: Collection[str]) -> int:
    """Cover every address in a folder's log files, in place: who writes a file goes on at its end.

    Args:
        folder: of the log files; nothing is done where there is none.
        people: addresses.

    Returns:
        How many places were covered.
    """
    if not people or not folder.is_dir():
        return 0
    longest_first = sorted(people, key=len, reverse=True)
    pattern = re.compile(b"|".join(re.escape(each.encode()) for each in longest_first), re.IGNORECASE)
    return sum(_mask(file, pattern) for file in sorted(folder.glob("*.log")) if file.stat().st_size)


def _mask(file: Path, pattern: re.Pattern[bytes]) -> int:
    count = 0
    with file.open("r+b") as content, mmap.mmap(content.fileno(), 0) as text:
        for match in pattern.finditer(text):
            start, end = match.span()
            text[start:end] = _COVER * (end - start)
            count += 1
    return count
