"""Logging: readable on a terminal, JSON elsewhere; Faust, aiokafka and aiohttp speak through the same.

No line has an email address or a key in it, whoever said it: servers quote what they refuse.
"""

import logging
import re
import sys
from collections.abc import Iterable

import structlog

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
]
_QUIET = ("aiokafka", "asyncio", "faust", "mode", "streams.transport")
"""Loggers of libraries that report every step, or report as an error what they then retry."""


COMMAND = "command"
"""What a process is that a person has called, who may read what they asked for."""

_PART = r"""[^\s@<>"'`(),:;=|&?/\\\[\]{}]+"""
_ADDRESS = re.compile(rf"{_PART}(?:@|%40){_PART}")
_API_KEY = re.compile(r"\bSG\.[\w.-]+")
"""SendGrid's."""
_HIDDEN = "…"
_SHORTEST_SECRET = 6
"""A shorter one is a word that may be anywhere."""
_secrets: set[str] = set()


def hide(secrets: Iterable[str]) -> None:
    """Have no log line of this process show these."""
    _secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)


def hidden(text: str) -> str:
    """A text without the addresses, keys and secrets in it."""
    for secret in _secrets:
        text = text.replace(secret, _HIDDEN)
    return _API_KEY.sub(f"SG.{_HIDDEN}", _ADDRESS.sub(f"{_HIDDEN}@{_HIDDEN}", text))


def _without_people(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: _hidden_in(value) for key, value in line.items()}


def _hidden_in(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {_hidden_in(key): _hidden_in(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hidden_in(each) for each in value]
    return hidden(str(value))


def configure(role: str, *, to_terminal: bool | None = None) -> None:
    """Set up logging for this process.

    Args:
        role: what the process is, in every line.
        to_terminal: for people instead of programs; by default, if stderr is a terminal.
    """
    if to_terminal is None:
        to_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if to_terminal
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _without_people,
                renderer,
            ],
            foreign_pre_chain=_SHARED,
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)


def is_of_command() -> bool:
    """Whether what this process says is an answer to a person, not a log."""
    return structlog.contextvars.get_contextvars().get("role") == COMMAND
