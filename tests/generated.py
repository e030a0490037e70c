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
    return ", ".join(f"{_column(column)} {column.type.clickhouse}" for column in COMMON)


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


def settings_tables() -> str:
    """All settings, a table a section."""
    return "\n\n".join(_sections())


def _sections() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        model, is_list = _model(field)
        header = f"[[{name}]]" if is_list else f"[{name}]"
        lines = [f"### `{header}`", "", f"{model.__doc__}", "", "| key | default | meaning |", "|---|---|---|"]
        for key, setting in model.model_fields.items():
            lines.append(f"| `{key}` | {_default(setting)} | {setting.description} |")
        if not is_list:
            example = next(iter(model.model_fields))
            lines += ["", f"In the environment: `{PREFIX}{name.upper()}__{example.upper()}` and so on."]
        else:
            lines += ["", f"In the environment: `{PREFIX}{name.upper()}`, the whole list as JSON."]
        yield "\n".join(lines)


def _model(field: FieldInfo) -> tuple[type[BaseModel], bool]:
    kinds = get_args(field.annotation)
    model = kinds[0] if kinds else field.annotation
    assert isinstance(model, type)
    assert issubclass(model, BaseModel)
    return model, bool(kinds)


def _default(setting: FieldInfo) -> str:
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
