"""The compose files as docker compose reads them, as far as the tests need it."""

import copy
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.generated import ROOT
from tests.samples import VECTORS

Service = dict[str, Any]
IMAGE = "gridstream"


def composition(*overrides: str) -> dict[str, Any]:
    """docker-compose.yml, with further files laid over it."""
    merged: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for file in overrides:
        merged = _laid_over(merged, yaml.safe_load((ROOT / file).read_text()))
    return merged


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(below)
    for key, value in above.items():
        known = result.get(key)
        result[key] = _laid_over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


COMPOSED = composition()
CLUSTERED = composition("deploy/compose.three-brokers.yml")
OURS: dict[str, Service] = {name: each for name, each in COMPOSED["services"].items() if each["image"] == IMAGE}
"""The services that run a process of gridstream."""


def image_variables() -> dict[str, str]:
    """The settings that the image brings along."""
    text = (ROOT / "Dockerfile").read_text()
    return dict(re.findall(r"\b(GRIDSTREAM_\w+)=(\S+)", text))


def make_secrets(folder: Path) -> Path:
    """Run deploy/secrets.sh in a folder; returns where its files are."""
    script = folder / "deploy" / "secrets.sh"
    script.parent.mkdir(exist_ok=True)
    script.write_text((ROOT / "deploy/secrets.sh").read_text())
    subprocess.run(["sh", str(script), VECTORS[0].key], check=True, capture_output=True)
    return script.parent / "secrets"
