"""Names of workers: one's own while the worker lives, and taken up by the next."""

from pathlib import Path

import pytest

from streams.slots import Slot, claim


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def claimed(role: str = "store", servers: str = "a:9092", subscription: tuple[str, ...] = ("x", "y")) -> Slot:
    slot = claim(role, servers, subscription)
    assert slot
    return slot


def test_two_workers_have_two_names() -> None:
    first, second = claimed(), claimed()
    with first.lock, second.lock:
        assert first.name != second.name


def test_a_name_is_taken_up_again_when_its_worker_is_gone() -> None:
    first, second = claimed(), claimed()
    first.lock.close()
    third = claimed()
    with second.lock, third.lock:
        assert third.name == first.name


def test_a_worker_that_reads_something_else_is_somebody_else() -> None:
    first = claimed()
    first.lock.close()
    other = claimed(subscription=("x", "y", "z"))
    other.lock.close()
    same = claimed(subscription=("y", "x"))
    same.lock.close()

    assert other.name != first.name
    assert same.name == first.name


def test_roles_and_clusters_have_names_of_their_own() -> None:
    slots = [claimed(), claimed(role="normalize"), claimed(servers="b:9092")]

    assert [slot.name.rpartition("-")[2] for slot in slots] == ["0", "0", "0"]
    for slot in slots:
        slot.lock.close()


def test_without_a_folder_that_can_be_written_there_is_no_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(folder / "file"))

    assert claim("store", "a:9092", ["x"]) is None
