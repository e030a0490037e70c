"""What messages of a simulated SendGrid feed live through, and how often.

A story is the steps from SendGrid's taking the message to the last thing its recipient does. The shares of the event
types follow from the shares of the stories.
"""

from itertools import pairwise

from streams.simulator.messages import Message, Step, Story, expanded

_STEPS = {
    "processed": (Message.processed, 1, 1),
    "dropped": (Message.dropped, 1, 1),
    "deferred": (Message.deferred, 2, 20),
    "delivered": (Message.delivered, 1, 8),
    "block": (Message.blocked, 1, 8),
    "bounce": (Message.bounced, 1, 8),
    "late-bounce": (Message.bounced_late, 600, 3600),
    "machine-open": (Message.opened_by_machine, 5, 600),
    "open": (Message.opened, 30, 3600),
    "click": (Message.clicked, 4, 300),
    "spamreport": (Message.complained, 10, 1200),
    "unsubscribe": (Message.unsubscribed, 5, 120),
    "group-leave": (Message.left_group, 5, 120),
    "group-join": (Message.joined_group, 20, 600),
    "something-new": (Message.did_something_new, 5, 600),
    "account-change": (Message.ended_account, 1, 1),
}
"""What a step makes, and the soonest and the latest that it follows the one before, in seconds."""
_RETRY = (300, 1800)
"""The soonest and the latest after SendGrid was told: not now."""


def _story(names: str) -> Story:
    steps: list[Step] = []
    attempt = 0
    for before, name in pairwise(["", *names.split()]):
        attempt += before == "deferred"
        event, soonest, latest = _STEPS[name]
        if before == "deferred":
            soonest, latest = _RETRY
        steps.append(Step(event, attempt, soonest, latest))
    return tuple(steps)


STORIES = [
    (share, _story(names))
    for share, names in (
        (1180, "processed delivered"),
        (1320, "processed delivered machine-open"),
        (900, "processed delivered open"),
        (600, "processed delivered open click"),
        (800, "processed delivered machine-open open"),
        (500, "processed delivered machine-open open click"),
        (620, "processed delivered open open"),
        (450, "processed delivered machine-open open open click click"),
        (250, "processed delivered open click open click"),
        (180, "processed delivered open open open open"),
        (220, "processed deferred delivered"),
        (400, "processed deferred delivered open"),
        (260, "processed deferred deferred delivered open click"),
        (200, "processed deferred deferred delivered machine-open"),
        (150, "processed deferred deferred deferred block"),
        (80, "processed deferred bounce"),
        (300, "processed bounce"),
        (180, "processed block"),
        (290, "processed delivered late-bounce"),
        (720, "dropped"),
        (120, "processed delivered spamreport"),
        (120, "processed delivered open unsubscribe"),
        (90, "processed delivered open click group-leave"),
        (60, "processed delivered open group-leave group-join"),
        (8, "processed delivered open something-new"),
        (2, "account-change"),
    )
]
"""What messages live through, and how many of 10,000 do."""

LIVES = expanded(STORIES)
EVENTS_PER_MESSAGE = sum(share * len(story) for share, story in STORIES) / len(LIVES)
LONGEST_SECONDS = max(sum(step.latest for step in story) for _, story in STORIES)
