"""What reads see becomes what is, whatever the lags were."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.behaviour import Timing
from tests.fakes.sendgrid.book import ContactBook
from tests.fakes.sendgrid.contact import Contact, Directory

LISTS = ("first", "second")
IDS = ("a", "b", "c")


def contact(contact_id: str, lists: frozenset[str]) -> Contact:
    return Contact(contact_id, {"email": f"{contact_id}@example.com"}, {}, lists, 0.0, 0.0)


def write(contact_id: str, lists: frozenset[str]) -> Callable[[ContactBook], object]:
    def step(book: ContactBook) -> None:
        old = book.actual.by_id.get(contact_id)
        book.write([replace(old, list_ids=old.list_ids | lists) if old else contact(contact_id, lists)])

    return step


STEPS = st.one_of(
    st.builds(write, st.sampled_from(IDS), st.frozensets(st.sampled_from(LISTS))),
    st.builds(lambda each, name: lambda book: book.leave([each], [name]), st.sampled_from(IDS), st.sampled_from(LISTS)),
    st.builds(lambda each: lambda book: book.delete([each]), st.sampled_from(IDS)),
)


def looked_at(directory: Directory) -> object:
    """All that a directory tells, by each of its ways."""
    found = {each: directory.find("email", f"{each}@example.com") for each in IDS}
    return directory.by_id, found, {name: set(directory.members(name)) for name in LISTS}


@given(st.lists(st.tuples(STEPS, st.floats(0, 5))), st.floats(0, 10), st.floats(0, 10))
def test_after_the_longest_lag(
    steps: list[tuple[Callable[[ContactBook], object], float]], search_lag: float, removal_lag: float
) -> None:
    clock = Clock(0.0)
    book = ContactBook(clock, Timing(search_lag=search_lag, removal_lag=removal_lag))
    for step, pause in steps:
        step(book)
        clock.advance(pause)
    clock.advance(10)

    actual = looked_at(book.actual)

    assert looked_at(book.visible) == actual
    assert all(
        (name in each.list_ids) == (each.id in book.actual.members(name))
        for each in book.actual.by_id.values()
        for name in LISTS
    )
