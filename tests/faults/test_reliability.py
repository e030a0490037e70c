"""What docs/reliability.md and the README promise is what the suite has measured."""

import re

from tests.faults.catalogue import every_fault
from tests.faults.table import documented
from tests.generated import ROOT


def test_every_fault_has_its_row_in_the_document_and_every_row_its_test() -> None:
    assert {row[0]: row[1] for row in documented()} == {fault.name: fault.seen for fault in every_fault().values()}


def test_nothing_is_lost_and_nothing_is_there_twice() -> None:
    for name, _, lost, twice, _ in documented():
        assert (lost, twice) == ("0", "0"), name


def test_each_guarantee_of_the_readme_leads_to_a_test_that_exists() -> None:
    section = re.search(r"\n## Guarantees\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)
    assert section
    _, *guarantees = section[1].split("\n- ")
    assert guarantees
    for guarantee in guarantees:
        proofs = re.findall(r"\[`?(\w+)`?\]\((tests/[\w/]+\.py)\)", guarantee)
        assert proofs, guarantee
        for test, file in proofs:
            assert re.search(rf"def {test}\(", (ROOT / file).read_text()), (test, file)
