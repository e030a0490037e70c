"""Printing what came from outside: nothing in it may command a terminal."""

from rich.text import Text


def harmless(value: object) -> Text:
    """A value as text whose control characters are shown instead of obeyed, and which is no markup."""
    return Text("".join(map(_shown, str(value))))


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode()
