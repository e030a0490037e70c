"""What the documentation says is what is."""

import re
from pathlib import Path

import pytest
import typer.main

from streams.cli import cli
from tests.generated import ROOT, documents

COMMANDS = typer.main.get_command(cli)


@pytest.mark.parametrize(("path", "expected"), list(documents()), ids=lambda value: getattr(value, "name", ""))
def test_generated_sections_are_up_to_date(path: Path, expected: str) -> None:
    assert path.read_text() == expected, "run: make docs"


def names(command: object, prefix: str = "") -> set[str]:
    """All subcommands, `schema apply` and the like included."""
    found: set[str] = set()
    for name, sub in getattr(command, "commands", {}).items():
        found |= names(sub, f"{prefix}{name} ") or {f"{prefix}{name}"}
    return found


def test_every_command_is_in_the_readme_and_exists() -> None:
    text = (ROOT / "README.md").read_text()
    for name in names(COMMANDS):
        assert f"gridstream {name}" in text, name
    for name in re.findall(r"`gridstream ([a-z-]+(?: (?:list|show|apply))?)", text):
        assert any(known == name or known.startswith(f"{name} ") for known in names(COMMANDS)), name


def test_every_link_into_the_repository_leads_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
