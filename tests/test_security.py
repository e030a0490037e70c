"""What SECURITY.md says is so, and what gridstream is made of."""

import json
import re

import pytest

from tests.dependencies import Dependency, dependencies, licence, read_audit
from tests.generated import ROOT


def threats() -> list[str]:
    _, text = (ROOT / "SECURITY.md").read_text().split("\n## Threats\n")
    return [re.split(r"\n(?!  )", part)[0] for part in text.split("\n- ")[1:]]


@pytest.mark.parametrize("threat", threats(), ids=lambda threat: threat[:40])
def test_every_threat_has_its_test_or_its_reason(threat: str) -> None:
    proofs = re.findall(r"\[`(\w+)`\]\((tests/[\w/]+\.py)\)", threat)

    assert proofs or "Reason:" in threat
    for test, file in proofs:
        assert re.search(rf"def {test}\(", (ROOT / file).read_text()), (test, file)


def test_everything_is_locked_with_hashes() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        entries = re.findall(r"^\w.*(?:\n    .*)*", lock.read_text(), re.MULTILINE)
        assert entries
        for entry in entries:
            assert re.match(r"[\w.-]+(\[[\w,-]+\])?==\S+", entry), entry
            assert "--hash=sha256:" in entry, entry
        assert "://" not in lock.read_text(), "any mirror serves"
    for file, command in (("Makefile", "pip install"), ("Dockerfile", "install --require-hashes")):
        assert f"{command}" in (ROOT / file).read_text().replace(" --quiet --disable-pip-version-check", "")
        assert "--require-hashes" in (ROOT / file).read_text()


def test_every_licence_is_allowed() -> None:
    found = list(dependencies())

    assert found
    assert [each for each in found if not each.is_allowed] == []


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_of_an_alternative_one_part_is_enough(expression: str, expected: bool) -> None:  # noqa: FBT001
    assert Dependency("it", "1", expression, in_production=True).is_allowed is expected


def test_a_licence_in_unknown_words_is_none() -> None:
    assert licence({"license": "Ask my lawyer", "classifier": ["License :: Other"]}) == ""
    assert licence({"classifier": ["Topic :: Software", "License :: OSI Approved :: MIT License"]}) == "MIT"


def test_a_known_vulnerability_is_named() -> None:
    found = {"name": "it", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}
    output = json.dumps({"dependencies": [found, {"name": "other", "version": "2", "vulns": []}]})

    assert read_audit(output, "") == (["it 1.0: CVE-1, fixed in 1.1"], "")


@pytest.mark.parametrize(("errors", "trouble"), [("WARN\nno route\n", "no route"), ("", "said nothing")])
def test_advisories_that_cannot_be_had_are_said_to_be_missing(errors: str, trouble: str) -> None:
    known, said = read_audit("", errors)

    assert not known
    assert trouble in said
