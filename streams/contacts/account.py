"""One destination account: its settings, its SendGrid, and the custom fields that are there."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from connectors.errors import Reject
from connectors.sendgrid import SendGrid
from schemas.contacts import MOST_ROWS, Field, Mapper, Person, Rules, field_type
from streams.contacts.memberships import Memberships
from streams.sections import Contacts

log = structlog.get_logger()

_USABLE_SECONDS = 900.0
"""After so long a field that is still refused will not become usable by waiting."""
_REMEMBERED_SECONDS = 600.0
"""How long the custom fields are taken to be what they were."""
_PEOPLE = 2 * MOST_ROWS
"""Who is in memory while SendGrid works: two full uploads, or any number of small ones."""


class CustomFields:
    """An account's custom fields, remembered for a while.

    Args:
        api: the account's, open.
        rules: which traits go to which of them.
        create: whether those that the rules name, and that are not there, are made.
    """

    def __init__(self, api: SendGrid, rules: Rules, *, create: bool) -> None:
        self._api = api
        self._rules = rules
        self._create = create
        self._mapper: Mapper | None = None
        self._until = 0.0
        self._blamed = 0.0
        self._lock = asyncio.Lock()

    async def mapper(self, people: Sequence[Person]) -> Mapper:
        """What makes contacts of people.

        Args:
            people: whose traits say of which type a new field is.

        Raises:
            Retry, Reject, Fatal: SendGrid would not say.
        """
        async with self._lock:
            if not self._mapper or time.monotonic() > self._until:
                self._mapper = await self._read()
                self._until = time.monotonic() + _REMEMBERED_SECONDS
                if self._create and (missing := self._mapper.missing()):
                    await self._make(missing, people)
                    self._mapper = await self._read()
                if missing := self._mapper.missing():
                    log.warning("there are no such custom fields; their traits are left out", fields=missing)
            return self._mapper

    def are_to_blame(self, answer: str) -> bool:
        """Whether an upload was refused for a field that is not usable yet, or not any more: then it is worth waiting.

        A field that was just made is refused for a while. What is still refused after that has another fault.
        """
        if not re.search("custom.?field", answer, re.IGNORECASE):
            return False
        self._mapper = None
        self._blamed = self._blamed or time.monotonic()
        return time.monotonic() - self._blamed < _USABLE_SECONDS

    def work(self) -> None:
        """An upload was taken."""
        self._blamed = 0.0

    async def _read(self) -> Mapper:
        found = [Field(each["id"], each["name"], each["field_type"]) for each in await self._api.custom_fields()]
        return Mapper(self._rules, found)

    async def _make(self, names: Sequence[str], people: Sequence[Person]) -> None:
        for name in names:
            traits = {trait for trait, field in self._rules.custom_fields.items() if field == name}
            values = [person.traits.get(trait) for person in people for trait in traits]
            try:
                await self._api.create_field(name, field_type(values))
            except Reject as error:
                log.warning("a custom field cannot be made", field=name, reason=str(error))


class Room:
    """How many people there may be in memory at once, of all lists together.

    Args:
        people: so many; a larger part gets in alone.
    """

    def __init__(self, people: int) -> None:
        self._people = people
        self._inside = 0
        self._left = asyncio.Condition()

    @asynccontextmanager
    async def of(self, people: int) -> AsyncIterator[None]:
        """Holds room for so many people, once it is there."""
        async with self._left:
            await self._left.wait_for(lambda: not self._inside or self._inside + people <= self._people)
            self._inside += people
        try:
            yield
        finally:
            self._inside -= people
            async with self._left:
                self._left.notify_all()


class Account:
    """Everything that syncing an account's lists needs.

    Attributes:
        name: of the account.
        settings: of its entry.
        rules: what of a person goes where.
        api: its SendGrid, open.
        memberships: what is known of them.
        fields: its custom fields.
        naming: held while a list gets its name, so that no two get the same.
        paging: held while a page of people is read: there is one at a time in memory.
        room: for those who are being sent or taken off.
    """

    def __init__(self, settings: Contacts, api: SendGrid, memberships: Memberships) -> None:
        self.name = settings.name
        self.settings = settings
        self.rules = rules_of(settings)
        self.api = api
        self.memberships = memberships
        self.fields = CustomFields(api, self.rules, create=settings.create_custom_fields)
        self.naming = asyncio.Lock()
        self.paging = asyncio.Lock()
        self.room = Room(_PEOPLE)


def rules_of(settings: Contacts) -> Rules:
    """What of a person goes where, as configured."""
    return Rules(
        email_trait=settings.email_trait,
        first_name_trait=settings.first_name_trait,
        last_name_trait=settings.last_name_trait,
        user_id_field=settings.user_id_field,
        custom_fields=settings.custom_fields,
        match_custom_fields=settings.match_custom_fields,
    )
