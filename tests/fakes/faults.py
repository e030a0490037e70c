"""What can go wrong with a call, as a script that a test writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True, slots=True)
class Respond:
    """An answer of the test's own.

    Attributes:
        status: of the answer.
        body: of the answer: bytes as they are, anything else as JSON; None is an empty one.
        headers: of the answer.
        applied: whether the call has its effect all the same.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection ends without an answer.

    aiohttp's client by itself repeats GET, PUT and DELETE once where that happens: two `times` make sure that the code
    under test notices. POST and PATCH it does not repeat.

    Attributes:
        applied: whether that happens only after the call has had its effect: the answer is lost.
    """

    applied: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends in the middle of the answer, whose call has had its effect. No client repeats that by itself.

    Attributes:
        after: so many bytes of the body still arrive, at least one.
    """

    after: int


@dataclass(frozen=True, slots=True)
class Delay:
    """It takes long, by the fake's clock, then goes on; also when the caller has gone meanwhile.

    Attributes:
        seconds: how long,
        applied: and whether the call has its effect before it instead of after it.
    """

    seconds: float
    applied: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """There is never an answer, and the connection stays open.

    Attributes:
        applied: whether the call has its effect.
    """

    applied: bool = False


Fault = Respond | Drop | Cut | Delay | Hang
LOST_ANSWER = Drop(applied=True)


@dataclass(slots=True)
class Failure:
    """One line of the script.

    Attributes:
        method: of the calls that fail; `*` is any.
        path: of the calls that fail, without the query; `*` stands for any text, slashes included.
        fault: how they fail.
        times: how many of them still do; None is all.
        skip: so many of them go well before.
        seen: how many have failed so far.
    """

    method: str
    path: str
    fault: Fault
    times: int | None
    skip: int
    seen: int = 0

    def takes(self, method: str, path: str) -> bool:
        """Whether this call is one that fails; it counts."""
        if self.times == 0 or self.method not in {"*", method} or not fnmatchcase(path, self.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        self.seen += 1
        return True

    def stop(self) -> None:
        """From now on, all goes well."""
        self.times = 0
