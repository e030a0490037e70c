"""Amplitude's cohort webhook as a sender (facts 3.1 and 3.3 of the fact sheet on Amplitude and Segment).

cohort = Cohort("Power users", "abc123")
for body in cohort.run({"u1": {"email": "ada@example.com"}}, at=1_790_000_000):
    ...  # post it, or:
await CohortSender(session, url, secret).send(cohort.run({}, at=1_790_000_060))
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import aiohttp
import orjson

Body = dict[str, Any]
Members = Mapping[str, Mapping[str, Any]]
"""User ids with the user properties that are attached, at most 50 of them."""
SECRET_HEADER = "X-Gridstream-Secret"
_MOST_AT_ONCE = 4


class Cohort:
    """One cohort and what has been told of it: the first run sends everybody, later ones only the changes.

    Args:
        name: of the cohort.
        cohort_id: a short text.
        batch_size: users in one body; Amplitude's number is not known.
        seed: of its message ids.

    Attributes:
        members: as of the last run.
    """

    def __init__(self, name: str, cohort_id: str, *, batch_size: int = 1000, seed: int = 0) -> None:
        self.name = name
        self.members: dict[str, Mapping[str, Any]] = {}
        self._id = cohort_id
        self._batch_size = batch_size
        self._random = Random(f"{seed} {cohort_id}")

    def run(self, members: Members, at: float) -> list[Body]:
        """The bodies that tell who entered and who left since the last run.

        Args:
            members: who is in the cohort now.
            at: when that was computed, in seconds since 1970.
        """
        entered = {user: properties for user, properties in members.items() if user not in self.members}
        left = {user: properties for user, properties in self.members.items() if user not in members}
        self.members = dict(members)
        run_id = str(UUID(int=self._random.getrandbits(128), version=4))
        return [*self._bodies(run_id, entered, at, is_in=True), *self._bodies(run_id, left, at, is_in=False)]

    def _bodies(self, run_id: str, users: Members, at: float, *, is_in: bool) -> Iterator[Body]:
        """`computed_time` is a text; `message_id` ends with the batch's number. That leaving is `exit` is presumed."""
        all_ = [{"user_id": user, "user_properties": dict(properties)} for user, properties in users.items()]
        for number, start in enumerate(range(0, len(all_), self._batch_size)):
            yield {
                "cohort_name": self.name,
                "cohort_id": self._id,
                "in_cohort": is_in,
                "computed_time": str(int(at)),
                "message_id": f"{run_id}::{'enter' if is_in else 'exit'}::{number}",
                "users": all_[start : start + self._batch_size],
            }


class CohortSender:
    """Posts bodies as Amplitude does: several at once, and again until it is answered 200.

    Args:
        session: to post with.
        url: of the receiver.
        secret: goes into a header; empty is none.
        answer_seconds: a later answer counts as none; Amplitude waits 1 to 2 seconds.
        retries: so often; Amplitude says eight for partners.
        pause: before the first of them, in seconds; doubled before each further one.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        secret: str = "",
        *,
        answer_seconds: float = 2.0,
        retries: int = 8,
        pause: float = 1.0,
    ) -> None:
        self._session = session
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "Amplitude/Webhook/1.0"}
        if secret:
            self._headers[SECRET_HEADER] = secret
        self._timeout = aiohttp.ClientTimeout(total=answer_seconds)
        self._retries = retries
        self._pause = pause

    async def send(self, bodies: Iterable[Body]) -> list[Body]:
        """Post them. Returns those that were given up."""
        waiting = iter(bodies)

        async def post_each() -> list[Body]:
            return [body for body in waiting if not await self._posted(body)]

        async with asyncio.TaskGroup() as tasks:
            posting = [tasks.create_task(post_each()) for _ in range(_MOST_AT_ONCE)]
        return [body for task in posting for body in task.result()]

    async def _posted(self, body: Body) -> bool:
        for attempt in range(self._retries + 1):
            if attempt:
                await asyncio.sleep(self._pause * 2 ** (attempt - 1))
            try:
                async with self._session.post(
                    self._url, data=orjson.dumps(body), headers=self._headers, timeout=self._timeout
                ) as answer:
                    if answer.status == 200:
                        return True
            except (aiohttp.ClientError, TimeoutError):
                continue
        return False


def populations(
    users: int, seed: int = 0, share: float = 0.5, churn: float = 0.1
) -> Iterator[dict[str, dict[str, str]]]:
    """Who is in a cohort, run after run, without end: for load.

    Args:
        users: how many people there are.
        seed: another one, other people.
        share: how many of them are in it at first,
        churn: and how many change sides from one run to the next.
    """
    random = Random(seed)
    people = {
        f"user-{number}": {"email": f"user-{number}@example.com", "first_name": f"First {number}", "last_name": "Last"}
        for number in range(users)
    }
    inside = set(random.sample(sorted(people), int(users * share)))
    for _ in count():
        yield {user: people[user] for user in sorted(inside)}
        inside ^= set(random.sample(sorted(people), int(users * churn)))
