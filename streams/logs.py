"""Logging: readable on a terminal, JSON elsewhere; Faust, aiokafka and aiohttp speak through the same."""

import logging
import sys

import structlog

from streams.harmless import harmless

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso"),
]
_QUIET = ("aiokafka", "asyncio", "faust", "mode", "streams.transport")
"""Loggers of libraries that report every step, or report as an error what they then retry."""


def configure(role: str, *, to_terminal: bool | None = None) -> None:
    """Set up logging for this process.

    Args:
        role: what the process is, in every line.
        to_terminal: for people instead of programs; by default, if stderr is a terminal.
    """
    if to_terminal is None:
        to_terminal = sys.stderr.isatty()
    rendering: list[structlog.typing.Processor] = (
        [_harmless, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if to_terminal
        else [structlog.processors.JSONRenderer(sort_keys=False)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *rendering,
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


def _harmless(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: harmless(value) if isinstance(value, str) else value for name, value in entry.items()}
