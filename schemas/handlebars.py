"""What a dynamic template wants to be told: the variables of its handlebars.

Source: SendGrid's page on handlebars in dynamic templates, for its helpers.
"""

import re
from collections.abc import Iterator

_TAG = re.compile(r"\{\{(?P<open>!--.*?--|[^{}]*|\{[^{}]*\})\}\}", re.DOTALL)
_TEXT = re.compile(r"\"[^\"]*\"|'[^']*'")
_WORD = re.compile(r"(?:\w+=)?([^\s()=|]+)")
_HELPERS = frozenset(
    {
        "if",
        "unless",
        "each",
        "with",
        "and",
        "or",
        "not",
        "equals",
        "notEquals",
        "lessThan",
        "greaterThan",
        "insert",
        "default",
        "length",
        "formatDate",
        "lookup",
        "log",
        "else",
        "this",
        "as",
        "true",
        "false",
        "null",
        "undefined",
    }
)
_INNER = ("each", "with")
"""Blocks in which names belong to something else than the template's data."""


def variables(*texts: str) -> set[str]:
    """The names at the top of a template's data that it uses.

    Args:
        texts: its subject and contents.
    """
    return {name for text in texts for name in _names(text)}


def _names(text: str) -> Iterator[str]:
    blocks: list[str] = []
    for tag in _TAG.finditer(text):
        content = tag["open"].strip("{}~& \t\r\n")
        if not content or content[0] in "!>":
            continue
        if content[0] == "/":
            if blocks:
                blocks.pop()
            continue
        words = _WORD.findall(_TEXT.sub(" ", content.lstrip("#^ ")))
        is_inner = any(block in _INNER for block in blocks)
        yield from (name for word in words if (name := _top(word, is_inner=is_inner)))
        if content[0] in "#^" and content != "^":
            blocks.append(words[0] if words else "")


def _top(word: str, *, is_inner: bool) -> str:
    """The name at the top of the data that a word leads to; empty where it leads elsewhere."""
    for root in ("@root.", "root.", "../"):
        if word.startswith(root):
            word = word.removeprefix(root).removeprefix("../")
            is_inner = False
    name = re.split(r"[./\[]", word)[0]
    is_name = name and name not in _HELPERS and name[0] not in "@.-" and not name[0].isdigit()
    return name if is_name and not is_inner else ""
