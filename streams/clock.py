"""What time it is, as everything that is stored says it."""

import time


def now() -> int:
    """In milliseconds since 1970."""
    return int(time.time() * 1000)
