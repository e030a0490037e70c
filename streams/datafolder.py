"""The data folder: where `gridstream up` keeps everything it has, and what else finds there."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from connectors.clickhouse import ANSWER_SECONDS, ClickHouse
from connectors.errors import Fatal
from connectors.event_webhook import Signer
from streams.settings import Settings

ENGINE_USER = "gridstream"
"""Who may write to the embedded engine; anybody on this machine may read."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths in a data folder."""

    path: Path

    @property
    def kafka(self) -> Path:
        """The embedded Kafka's log."""
        return self.path / "kafka"

    @property
    def clickhouse(self) -> Path:
        """The embedded engine's tables."""
        return self.path / "clickhouse"

    @property
    def logs(self) -> Path:
        """What the servers and roles print."""
        return self.path / "logs"

    @property
    def engine_password(self) -> Path:
        """The file with the password of the embedded engine's user who may write."""
        return self.path / "clickhouse.password"

    @property
    def privacy_secret(self) -> Path:
        """The file with the key of the marks that stand for people."""
        return self.path / "privacy.key"

    @property
    def demo_key(self) -> Path:
        """The private key that signs the demo's feed."""
        return self.path / "demo" / "private-key.pem"

    def prepare(self) -> None:
        """Make the folder with what every start needs.

        Raises:
            Fatal: it cannot be read or written.
        """
        try:
            for folder in (self.path, self.kafka, self.clickhouse, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            if not self.engine_password.exists():
                self.engine_password.touch(mode=0o600)
                self.engine_password.write_text(secrets.token_urlsafe(24) + "\n")
            if not self.privacy_secret.exists():
                self.privacy_secret.touch(mode=0o600)
                self.privacy_secret.write_text(secrets.token_urlsafe(32) + "\n")
        except OSError as error:
            raise Fatal(f"the data folder cannot be used: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep the folder to oneself.

        Raises:
            Fatal: another `gridstream up` has it.
        """
        try:
            lock = self._lock.open("a")
        except OSError as error:
            raise Fatal(f"the data folder cannot be used: {error}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Fatal(f"another gridstream is running on {self.path}; stop it, or use another --data") from error
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def runner(self) -> int:
        """The process id of the `gridstream up` that has the folder; 0: there is none."""
        try:
            with self._lock.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(self._lock.read_text() or 0)
        except OSError:
            pass
        return 0

    def reloads(self) -> tuple[int, str]:
        """How often a `gridstream up` of this folder was told to reload, and what was wrong the last time."""
        try:
            number, error = json.loads(self._reloads.read_text())
        except (OSError, ValueError):
            return 0, ""
        return int(number), str(error)

    def note_reload(self, error: str) -> None:
        """Keep the outcome of a reload for whoever asked for it.

        Args:
            error: what was wrong; empty: nothing.
        """
        number, _ = self.reloads()
        unfinished = self._reloads.with_suffix(".new")
        unfinished.write_text(json.dumps([number + 1, error]))
        unfinished.replace(self._reloads)

    @property
    def _lock(self) -> Path:
        return self.path / "up.lock"

    @property
    def _reloads(self) -> Path:
        return self.path / "reloads.json"

    def demo_signer(self) -> Signer:
        """Who signs the demo's feed; the key pair is made once.

        Raises:
            Fatal: it cannot be read or written.
        """
        try:
            if not self.demo_key.exists():
                self.demo_key.parent.mkdir(parents=True, exist_ok=True)
                Signer.generate().save(self.demo_key)
            return Signer.load(self.demo_key)
        except (OSError, ValueError) as error:
            raise Fatal(f"the demo's key cannot be used: {error}") from error

    def connection(self, settings: Settings, timeout: float = ANSWER_SECONDS) -> ClickHouse:
        """A connection to ClickHouse, with the right to write; still to be made.

        Args:
            settings: read.
            timeout: seconds that an answer may take.

        Raises:
            Fatal: as clickhouse_url.
        """
        return ClickHouse(self.clickhouse_url(settings), timeout, settings.clickhouse.ca_certificate)

    def privacy_key(self, settings: Settings) -> str:
        """The key of the marks that stand for people: the configured one, else this folder's; empty: there is none.

        Raises:
            Fatal: it cannot be read.
        """
        if key := settings.privacy.key.get_secret_value():
            return key
        try:
            return self.privacy_secret.read_text().strip() if self.privacy_secret.exists() else ""
        except OSError as error:
            raise Fatal(f"the key of marks cannot be read: {error}") from error

    def clickhouse_url(self, settings: Settings) -> str:
        """The URL of ClickHouse, with the right to write: the configured one's, else the embedded engine's.

        Raises:
            Fatal: no engine has run on this folder, so there is no password.
        """
        if url := settings.clickhouse.url.get_secret_value():
            return url
        try:
            password = self.engine_password.read_text().strip()
        except OSError as error:
            raise Fatal(
                f"there is no embedded ClickHouse in {self.path} ({error}). Start one with `gridstream up`, "
                "name its folder with --data, or set clickhouse.url"
            ) from error
        return f"http://{ENGINE_USER}:{password}@127.0.0.1:{settings.clickhouse.embedded_port}"
