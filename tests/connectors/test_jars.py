import hashlib
from pathlib import Path
from threading import Thread

import pytest

from connectors.embedded import jars


def test_two_who_start_at_once_do_not_take_each_others_half_jars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    locked = tmp_path / "jars.lock"
    locked.write_text(f"org.example:one:1 {hashlib.sha256(b'whole').hexdigest()}")
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

    monkeypatch.setattr(jars, "_LOCK", locked)
    monkeypatch.setattr(jars, "_downloaded", downloaded)

    first = jars.jars(cache)
    second.join(10)

    assert [first] == found == [[jar]]
