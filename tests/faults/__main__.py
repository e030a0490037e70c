"""`make faults`: runs the suite and prints what each fault cost; all of them go into docs/reliability.md."""

import sys

import pytest

from tests.faults.catalogue import MEASURED, Measured, every_fault
from tests.faults.table import table, write


class Measurements:
    """A plugin of pytest's that gathers the figures."""

    def __init__(self) -> None:
        self.by_fault: dict[str, Measured] = {}
        self._names: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if marker := item.get_closest_marker("fault"):
                self._names[item.nodeid] = marker.args[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties if report.when == "call" else ():
            if name == MEASURED and isinstance(value, dict):
                self.by_fault[self._names[report.nodeid]] = Measured(**value)


def main() -> int:
    """Run; the exit code is pytest's."""
    measurements = Measurements()
    about_the_document = "--ignore=tests/faults/test_reliability.py"  # it is about to be written
    code = pytest.main(["tests/faults", about_the_document, *sys.argv[1:]], plugins=[measurements])
    faults = every_fault()
    text = table(faults, measurements.by_fault)
    print(f"\n{text}")  # noqa: T201  what it is for
    if code == pytest.ExitCode.OK and measurements.by_fault.keys() == faults.keys():
        write(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
