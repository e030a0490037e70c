"""What a check finds."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was checked.

    Attributes:
        subject: what.
        state: how it is.
        remedy: what to do about it; empty where it is as it should be.
    """

    subject: str
    state: str
    remedy: str = ""
