import hashlib
from pathlib import Path
from threading import Thread

import pytest

from connectors.embedded import jars


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of one jar, whose content is to be `whole`."""
    locked = tmp_path / "jars.lock"
    locked.write_text(f"org.example:one:1 {hashlib.sha256(b'whole').hexdigest()}")
    monkeypatch.setattr(jars, "_LOCK", locked)
    return tmp_path / "cache"


def test_two_who_start_at_once_do_not_take_each_others_half_jars(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = cache / "one.jar"
    found: list[list[Path]] = []
    second = Thread(target=lambda: found.append(jars.jars(cache)))

    def downloaded(_: Path, __: str) -> Path:
        if not jar.exists():
            jar.write_bytes(b"who")
            second.start()
            second.join(0.5)
            assert second.is_alive()
            jar.write_bytes(b"whole")
        return jar

    monkeypatch.setattr(jars, "_downloaded", downloaded)

    first = jars.jars(cache)
    second.join(10)

    assert [first] == found == [[jar]]


def test_a_cache_that_cannot_be_written_serves_what_it_has(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / ".lock").mkdir(parents=True)  # as root may write wherever the file system lets anybody
    jar = cache / "one.jar"
    jar.write_bytes(b"whole")
    monkeypatch.setattr(jars, "_downloaded", lambda *_: jar)

    assert jars.jars(cache) == [jar]
