"""The parts of the documentation that are made of declarations. `make docs` writes them; test_docs.py compares them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.columns import Column
from schemas.events import COMMON, EVENTS
from schemas.objects import IS_DELETED, OBJECTS, RECEIVED_AT
from schemas.rollups import DIMENSIONS, FIRST, FIRST_EVENTS
from streams.dashboard.panels import PANELS
from streams.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent


def event_table() -> str:
    """The event types: their tables, and the columns that only they have."""
    lines = ["| event | table | what happened | its own columns |", "|---|---|---|---|"]
    shared = set.intersection(*(set(event.columns) for event in EVENTS if len(event.columns) > len(COMMON) + 1))
    for event in EVENTS:
        own = ", ".join(_column(column) for column in event.columns if column not in shared and column not in COMMON)
        lines.append(f"| `{event.name}` | `{event.table}` | {event.meaning} | {own or '–'} |")
    return "\n".join(lines)


def common_columns() -> str:
    """The columns that every event table has, with their types."""
    return ", ".join(f"{_column(column)} {column.type.seen}" for column in COMMON)


def object_table() -> str:
    """The kinds of objects and their columns."""
    lines = ["| table | what it has | columns |", "|---|---|---|"]
    for kind in OBJECTS:
        columns = ", ".join(_column(column) for column in kind.columns if column not in (RECEIVED_AT, IS_DELETED))
        lines.append(f"| `{kind.name}` | {kind.meaning} | {columns} |")
    return "\n".join(lines)


def _column(column: Column) -> str:
    key = column.raw_keys[0] if column.raw_keys else column.name
    return f"`{column.name}`" if key == column.name else f"`{column.name}` (from `{key}`)"


def panel_table() -> str:
    """The panels of the live page."""
    lines = ["| panel | what it shows |", "|---|---|"]
    lines += [f"| {panel.title} | {panel.meaning} |" for panel in PANELS.values()]
    return "\n".join(lines)


def dimension_table() -> str:
    """What is counted ahead, by hour."""
    lines = ["| `dimension` | events are counted by | which events |", "|---|---|---|"]
    lines += [
        f"| `{each.name}` | {each.meaning} | {', '.join(map(_code, each.events)) or 'all'} |"
        for each in DIMENSIONS.values()
    ]
    events = ", ".join(map(_code, FIRST_EVENTS))
    lines.append(f"| `{FIRST}` | nothing: messages, each once a day (UTC), in the hour of its first event | {events} |")
    return "\n".join(lines)


def _code(name: str) -> str:
    return f"`{name}`"


def settings_tables() -> str:
    """All settings, a table a section."""
    return "\n\n".join(_sections())


def _sections(of: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    for key, field in of.model_fields.items():
        if not (model := _model(field)):
            continue
        name = f"{prefix}{key}"
        is_list = bool(get_args(field.annotation))
        header = f"[[{name}]]" if is_list else f"[{name}]"
        lines = [f"### `{header}`", "", f"{model.__doc__}", "", "| key | default | meaning |", "|---|---|---|"]
        plain = [each for each in model.model_fields.items() if not _model(each[1])]
        lines += [f"| `{each.alias or own}` | {_default(each)} | {each.description} |" for own, each in plain]
        variable = f"{PREFIX}{name.upper().replace('.', '__')}"
        if not is_list:
            lines += ["", f"In the environment: `{variable}__{plain[0][0].upper()}` and so on."]
        else:
            lines += ["", f"In the environment: `{variable}`, the whole list as JSON."]
        yield "\n".join(lines)
        yield from _sections(model, f"{name}.")


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a setting is, or that each of its members is."""
    kinds = get_args(field.annotation)
    model = kinds[0] if kinds else field.annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def _default(setting: FieldInfo) -> str:
    if setting.is_required():
        return "needed"
    value = setting.default
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, tuple):
        value = list(value)
    return f"`{value!r}`".replace("'", '"')


SECTIONS = {
    "README.md": {"events": event_table, "columns": common_columns},
    "docs/configuration.md": {"settings": settings_tables},
    "docs/objects.md": {"objects": object_table},
    "docs/dashboard.md": {"panels": panel_table, "dimensions": dimension_table},
}
"""By file and by the name in `<!-- made of declarations: NAME -->`."""


def with_sections(text: str, sections: dict[str, str]) -> str:
    """A document with its generated sections put in.

    Raises:
        KeyError: a section has no place in it.
    """
    for name, content in sections.items():
        start, end = f"<!-- made of declarations: {name} -->", "<!-- until here -->"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise KeyError(name)
        text = pattern.sub(f"{start}\n{content}\n{end}".replace("\\", r"\\"), text)
    return text


def documents() -> Iterator[tuple[Path, str]]:
    """Each document with its sections as they should be."""
    for file, sections in SECTIONS.items():
        path = ROOT / file
        yield path, with_sections(path.read_text(), {name: made() for name, made in sections.items()})


if __name__ == "__main__":
    for document, content in documents():
        document.write_text(content)
