"""Addresses in log files."""

from pathlib import Path

from streams.privacy.masking import mask


def test_an_address_is_covered_in_place_and_the_file_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "store.log"
    log.write_text("refused: Ada@Example.com, ada@example.com\nbob@example.com\n")
    (tmp_path / "empty.log").touch()
    with log.open("a") as writer:
        assert mask(tmp_path, ["ada@example.com"]) == 2
        writer.write("more\n")

    assert log.read_text() == f"refused: {'*' * 15}, {'*' * 15}\nbob@example.com\nmore\n"


def test_a_folder_that_is_not_there_has_no_logs(tmp_path: Path) -> None:
    assert mask(tmp_path / "none", ["ada@example.com"]) == 0
