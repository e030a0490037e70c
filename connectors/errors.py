"""What a failure means, sorted by what the caller does next.

GridstreamError
├── Retry    the outside system cannot just now: wait and do the same again, for as long as it takes
├── Reject   it will never take this: put it aside with the reason, go on with the rest
└── Fatal    nothing of this kind can go on: stop and tell a person
"""


class GridstreamError(Exception):
    """The base of all three. Its text is for people: what went wrong and what to do about it."""


class Retry(GridstreamError):  # noqa: N818  named for what the caller does
    """Wait, then the same again.

    Args:
        reason: why not now.
        after: seconds the outside system asked to wait; None leaves it to the caller.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Reject(GridstreamError):  # noqa: N818
    """Never as it is: what was sent has a fault of its own.

    Args:
        reason: what the fault is.
        detail: the whole answer, for a caller that finds the fault in it.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class Fatal(GridstreamError):  # noqa: N818
    """Not without a person: wrong credentials, a missing table, a full disk, a wrong setting."""
