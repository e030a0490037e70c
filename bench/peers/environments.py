"""What peers run in: a folder of the user's cache for each, made once, and again when versions change."""

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from streams.embedded import cache

_NICE = ("nice", "-n", "19")
_SHOWN = 400


class UnavailableError(Exception):
    """A peer cannot be had on this machine; says why."""


async def python(name: str, requirements: tuple[str, ...]) -> None:
    """Make a virtual environment.

    Args:
        name: of the peer.
        requirements: with exact versions.

    Raises:
        UnavailableError: pip cannot install them.
    """
    folder = _folder(name)
    made_of = "\n".join((sys.version, *requirements))
    if _is_made(folder, made_of):
        return
    shutil.rmtree(folder, ignore_errors=True)
    await _run(sys.executable, "-m", "venv", str(folder))
    await _run(str(interpreter(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
    _made(folder).write_text(made_of)


def interpreter(name: str) -> Path:
    """Python in a peer's virtual environment."""
    return _folder(name) / "bin" / "python"


async def go(name: str, files: Mapping[str, str]) -> None:
    """Build a Go program; that takes minutes.

    Args:
        name: of the peer.
        files: the program's text by file name, `go.mod` with exact versions among them.

    Raises:
        UnavailableError: there is no Go, or it cannot build this.
    """
    folder = _folder(name)
    made_of = "\n".join(files.values())
    if _is_made(folder, made_of):
        return
    if not shutil.which("go"):
        raise UnavailableError("there is no Go on this machine")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    await _run(*_NICE, "go", "build", "-C", str(folder), "-mod=mod", "-o", str(binary(name)), ".")
    _made(folder).write_text(made_of)


def binary(name: str) -> Path:
    """A peer's Go program."""
    return _folder(name) / name


def _folder(name: str) -> Path:
    return cache() / "bench" / name


def _made(folder: Path) -> Path:
    return folder / "made-of.txt"


def _is_made(folder: Path, made_of: str) -> bool:
    return _made(folder).exists() and _made(folder).read_text() == made_of


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise UnavailableError(output.decode(errors="replace")[-_SHOWN:].strip() or f"{command[0]} failed")
