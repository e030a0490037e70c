"""The panels of the page, each declared once: its query, what it means, how it is drawn.

The page, its JSON, "Copy SQL", docs/dashboard.md and the tests are made of these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from streams.dashboard import statements
from streams.dashboard.queries import Source

Shape = Literal["funnel", "rates", "lines", "table", "events", "values"]
Format = Literal["text", "count", "percent", "time", "seconds", "event", "decimal"]


@dataclass(frozen=True, slots=True)
class Shown:
    """A column of a panel's answer.

    Attributes:
        name: in the query.
        title: for people.
        format: how its values are written.
        bar: whether a bar shows how large it is.
        find: whether its values lead to a person's or a message's history.
    """

    name: str
    title: str
    format: Format = "count"
    bar: bool = False
    find: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        name: in URLs.
        title: for people.
        meaning: one or two sentences for people.
        shape: how it is drawn.
        columns: of its query, in order.
        sql: its query, with parameters.
        needs: a parameter of the request without which there is nothing to ask.
        compared: whether the page also shows what it was in the stretch of time before.
        latest: so many rows with the latest times are its answer; 0: it is no such list.
        apart: a column; where it changes from one row to the next, these are set apart.
        empty: what is said where there are no rows.
    """

    name: str
    title: str
    meaning: str
    shape: Shape
    columns: tuple[Shown, ...]
    sql: Callable[[Source], str]
    needs: str = ""
    compared: bool = False
    latest: int = 0
    apart: str = ""
    empty: str = "Nothing in this time."


_EVENT_COLUMNS = (
    Shown("time", "Time (UTC)", "time"),
    Shown("event", "Event", "event"),
    Shown("email", "Recipient", "text", find=True),
    Shown("detail", "What was said, or the link", "text"),
)
_BY_COLUMNS = (
    Shown("processed", "Processed", bar=True),
    Shown("delivered", "Delivered"),
    Shown("opens", "Opens"),
    Shown("clicks", "Clicks"),
    Shown("bounces", "Bounces, blocks"),
    Shown("unsubscribes", "Unsubs"),
    Shown("spam", "Spam"),
)

PANELS = {
    panel.name: panel
    for panel in (
        Panel(
            "funnel",
            "From processed to clicked",
            "Messages. One that is opened or clicked several times on a day (UTC) counts once. Opens by machines, such "
            "as Apple's Mail Privacy Protection, stand apart.",
            "funnel",
            (Shown("step", "Step", "event"), Shown("messages", "Messages")),
            statements.funnel,
        ),
        Panel(
            "rates",
            "Rates",
            "In this time, and in the time before it. Delivered, bounced, blocked, dropped and "
            "deferred are shares of what was processed; the others of what was delivered.",
            "rates",
            (
                Shown("title", "Rate", "text"),
                Shown("events", "Number"),
                Shown("of", "Of"),
                Shown("share", "Share", "percent"),
            ),
            statements.rates,
            compared=True,
        ),
        Panel(
            "timeline",
            "Events over time",
            "Each event counts once, at the time when it happened, however often SendGrid sent it.",
            "lines",
            (Shown("second", "Time (UTC)", "time"), Shown("event", "Event", "event"), Shown("events", "Events")),
            statements.timeline,
        ),
        Panel(
            "domains",
            "Late mail, by receiving domain",
            "Deferrals: the receiving server said “not now”, and SendGrid tries again for up to 72 hours. Choose a "
            "domain for everything that it said.",
            "table",
            (
                Shown("domain", "Domain", "text"),
                Shown("deferred", "Deferrals", bar=True),
                Shown("delivered", "Delivered"),
                Shown("share", "Deferred share", "percent"),
                Shown("bounced", "Bounced, blocked"),
                Shown("says", "Says most often", "text"),
            ),
            statements.domains,
        ),
        Panel(
            "answers",
            "Why it is late",
            "What the domain's servers said when they deferred mail; what differs from mail to mail is written as …",
            "table",
            (Shown("deferrals", "Deferrals", bar=True), Shown("answer", "Answer", "text")),
            statements.answers,
            needs="domain",
        ),
        Panel(
            "bounces",
            "Bounces, and why",
            "“Bounced” is for good; “blocked” this time only.",
            "table",
            (
                Shown("bounces", "Bounces", bar=True),
                Shown("type", "Kind", "event"),
                Shown("classification", "Classification", "text"),
                Shown("reason", "What the server said", "text"),
            ),
            statements.bounces,
            empty="No bounces in this time.",
        ),
        Panel(
            "drops",
            "Dropped by SendGrid",
            "Mail that SendGrid did not try to deliver.",
            "table",
            (Shown("dropped", "Dropped", bar=True), Shown("reason", "Reason", "text")),
            statements.top("reason", "dropped", "reason", "dropped"),
            empty="Nothing was dropped in this time.",
        ),
        Panel(
            "links",
            "Links clicked most",
            "Clicks by URL, without what follows the question mark.",
            "table",
            (Shown("clicks", "Clicks", bar=True), Shown("link", "Link", "text")),
            statements.top("link", "click", "link", "clicks"),
            empty="No clicks in this time.",
        ),
        Panel(
            "campaigns",
            "Campaigns and Single Sends",
            "Events by the campaign that their mail belongs to. Opens are people's.",
            "table",
            (Shown("name", "Campaign", "text"), *_BY_COLUMNS),
            statements.by("campaign"),
            empty="No mail of a campaign in this time.",
        ),
        Panel(
            "categories",
            "Categories",
            "Events by category; mail with several counts in each. Opens are people's.",
            "table",
            (Shown("name", "Category", "text"), *_BY_COLUMNS),
            statements.by("category"),
            empty="No mail with a category in this time.",
        ),
        Panel(
            "complaints",
            "Unsubscribes and spam reports",
            "The latest. How many there are is under Rates.",
            "events",
            _EVENT_COLUMNS,
            statements.complaints,
            latest=statements.LATEST,
            empty="Nobody left or complained in this time.",
        ),
        Panel(
            "slowest",
            "Slowest deliveries",
            "From when SendGrid accepted the message, which its id tells, to when the receiving server took it.",
            "table",
            (
                Shown("wait", "Took", "seconds", bar=True),
                Shown("email", "Recipient", "text", find=True),
                Shown("delivered", "Delivered (UTC)", "time"),
                Shown("message", "Message", "text", find=True),
            ),
            statements.slowest,
            empty="Nothing was delivered in this time.",
        ),
        Panel(
            "tail",
            "Latest events",
            "As they happened. Choose a recipient for their whole history.",
            "events",
            _EVENT_COLUMNS,
            statements.tail,
            latest=statements.LATEST,
        ),
        Panel(
            "history",
            "History",
            "Everything that is known of this person or message, whenever it was; by message, the latest first.",
            "events",
            (
                *_EVENT_COLUMNS,
                Shown("categories", "Categories", "text"),
                Shown("campaign", "Campaign", "text"),
                Shown("useragent", "Device", "text"),
                Shown("message", "Message", "text", find=True),
                Shown("received", "Received (UTC)", "time"),
            ),
            statements.history,
            needs="find",
            apart="message",
            empty="No event has this address, message id or user id.",
        ),
        Panel(
            "freshness",
            "Freshness",
            "How fast the pipeline is: events stored a second in the last minute, repeats included; how long 95 % of "
            "them took from SendGrid's POST to the table; when the latest POST came.",
            "values",
            (
                Shown("rate", "Rows stored a second", "decimal"),
                Shown("took", "From POST to table, p95", "seconds"),
                Shown("latest", "Latest POST", "time"),
            ),
            statements.freshness,
        ),
        Panel(
            "letters",
            "Dead letters",
            "What could not be processed and waits for you: gridstream dead-letters list.",
            "table",
            (
                Shown("letters", "Letters", bar=True),
                Shown("step", "Step", "text"),
                Shown("reason", "Reason", "text"),
                Shown("latest", "Latest (UTC)", "time"),
            ),
            statements.letters,
            empty="None. Everything that came in could be processed.",
        ),
    )
}
"""By name, in the order of the page."""
