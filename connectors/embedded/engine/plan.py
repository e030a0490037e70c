"""What the engine is given to run for a statement that brings no rows, once that is permitted."""

from typing import NamedTuple

from connectors.embedded.engine import reader, statement
from connectors.embedded.engine.connection import Connection
from connectors.embedded.engine.errand import Errand
from connectors.embedded.engine.errors import QueryError
from connectors.embedded.engine.users import User


class Plan(NamedTuple):
    """A text to run.

    Attributes:
        text: The statement.
        format: Of its result.
        led: Whether the result goes where it was to be led; else it comes with the outcome.
    """

    text: bytes
    format: str
    led: bool


def plan(errand: Errand, connection: Connection, text: bytes, outfile: str) -> Plan:
    """Check a statement and lead its result into a file, if it is one that can.

    Of who must only read, the engine runs not the text that came but its own writing of it, in which the doors were
    looked for: so nothing can hide in the difference.

    Args:
        errand: The request.
        connection: Where it will run.
        text: The statement.
        outfile: Where the result is to be led; no quotes in it.

    Raises:
        QueryError: 62 if it isn't one statement, 358 INTO OUTFILE, 48 `input`, 164 it writes, 497 it leads out.
    """
    verdict = connection.verdict(text)
    if verdict.statements > 1:
        raise QueryError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    if verdict.controls and statement.leads_out(text):
        raise QueryError(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed")
    if not verdict.reads and statement.takes_input(text):  # the engine would find it empty, and say nothing
        raise QueryError(48, "NOT_IMPLEMENTED", "The embedded engine has no INSERT … SELECT … FROM input(…)")
    found = Plan(text, errand.request.default_format, led=False)
    if verdict.reads:
        clause = f"INTO OUTFILE '{outfile}' APPEND".encode()
        for led in statement.led(text, clause, errand.request.default_format):
            if connection.verdict(led.text).controls:  # it parses, and as one that writes a file
                found = Plan(led.text, led.format, led=True)
                break
    if errand.reads:
        canonical = connection.canonical(found.text)
        if not reader.permits(canonical, outfile if found.led else None):
            raise errand.readonly()
        door = errand.database.doors.used_in(canonical) if errand.user is User.READER else None
        if door:
            reason = f"Not enough privileges: '{door}' leads out of the data (a column of that name: table.{door})"
            raise QueryError(497, "ACCESS_DENIED", f"{errand.user.value}: {reason}")
        found = found._replace(text=canonical)
    return found
