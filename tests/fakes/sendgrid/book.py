"""The contacts of an account: as they are, and as reads show them a little later."""

from collections.abc import Callable, Collection
from dataclasses import replace

from tests.fakes.clock import Clock
from tests.fakes.sendgrid.behaviour import Timing
from tests.fakes.sendgrid.contact import Contact, Directory


class ContactBook:
    """Two directories: what jobs write, and what reads see (facts 1.4: a lookup right after a write can miss it).

    Attributes:
        actual: what upserts and removals act on.
        visible: what searches, reads, counts and exports show.
    """

    def __init__(self, clock: Clock, timing: Timing) -> None:
        self.actual = Directory()
        self.visible = Directory()
        self._clock = clock
        self._timing = timing
        self._change = 0
        self._shown: dict[str, int] = {}

    def write(self, contacts: Collection[Contact]) -> None:
        """Add or replace contacts; reads see it after the search lag."""
        for contact in contacts:
            self.actual.put(contact)
        self.publish(contacts)

    def publish(self, contacts: Collection[Contact]) -> None:
        """Have reads see, after the search lag, what has been put into `actual`."""
        self._show(contacts, self._timing.search_lag, self.visible.put)

    def leave(self, contact_ids: Collection[str], list_ids: Collection[str]) -> int:
        """Take contacts off lists; reads see it after the removal lag. Returns how many were on one."""
        changed = []
        for contact_id in contact_ids:
            contact = self.actual.by_id.get(contact_id)
            if contact and not contact.list_ids.isdisjoint(list_ids):
                changed.append(replace(contact, list_ids=contact.list_ids.difference(list_ids)))
        for contact in changed:
            self.actual.put(contact)
        self._show(changed, self._timing.removal_lag, self.visible.put)
        return len(changed)

    def delete(self, contact_ids: Collection[str]) -> int:
        """Delete contacts; reads see it after the removal lag. Returns how many there were."""
        gone = [self.actual.by_id[each] for each in contact_ids if each in self.actual.by_id]
        for contact in gone:
            self.actual.remove(contact.id)
        self._show(gone, self._timing.removal_lag, self._hide)
        return len(gone)

    def _show(self, contacts: Collection[Contact], lag: float, how: Callable[[Contact], None]) -> None:
        """What is seen never goes back to an older state, whatever the lags."""
        self._change += 1
        change = self._change

        def show() -> None:
            for contact in contacts:
                if self._shown.get(contact.id, 0) < change:
                    self._shown[contact.id] = change
                    how(contact)

        if lag > 0:
            self._clock.after(lag, show)
        else:
            show()

    def _hide(self, contact: Contact) -> None:
        if contact.id in self.visible.by_id:
            self.visible.remove(contact.id)
