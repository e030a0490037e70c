"""Text from outside on a terminal: nothing in it may command it."""


def harmless(value: object) -> str:
    """A value as text whose control characters are shown instead of obeyed; lines stay lines."""
    return "".join(map(_shown, str(value)))


def _shown(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape").decode()
