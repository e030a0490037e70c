"""The jars of Apache Kafka: which they are, with their hashes (jars.lock), and how they get here from Maven Central.

`python -m connectors.embedded.jars` resolves them anew and writes the lock, after a change of the versions below.
"""

import fcntl
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import file_digest
from pathlib import Path

from connectors.errors import Fatal

KAFKA_VERSION = "4.3.0"

_LOCK = Path(__file__).with_name("jars.lock")
_AT_ONCE = 8


def jars(cache: Path, progress: Callable[[int, int], None] = lambda _done, _of: None) -> list[Path]:
    """Kafka's jars, downloaded into the cache folder where they are not there already.

    Args:
        cache: kept between runs, shared by all data folders.
        progress: called with how many jars are there and how many there are to be.

    Raises:
        Fatal: a jar cannot be had, or is not the one that was locked.
    """
    locked = [line.split() for line in _LOCK.read_text().splitlines()]
    found = []
    with _alone_in(cache), ThreadPoolExecutor(_AT_ONCE) as pool:
        for path in pool.map(lambda entry: _verified(cache, *entry), locked):
            found.append(path)
            progress(len(found), len(locked))
    return found


@contextmanager
def _alone_in(cache: Path) -> Iterator[None]:
    """Wait for others who fill the same cache: half of their jar would be taken for a wrong one and deleted."""
    with ExitStack() as stack:
        with suppress(OSError):  # a cache that cannot be written has all jars, or the download says what is wrong
            cache.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context((cache / ".lock").open("w")), fcntl.LOCK_EX)
        yield


def _verified(cache: Path, coordinate: str, sha256: str) -> Path:
    for _ in range(2):
        path = _downloaded(cache, coordinate)
        with path.open("rb") as file:
            if file_digest(file, "sha256").hexdigest() == sha256:
                return path
        path.unlink()  # cut off by a stop in the middle of the download: once more
    raise Fatal(f"{coordinate} from Maven Central is not the file that was locked (SHA-256 {sha256})")


def _downloaded(cache: Path, coordinate: str) -> Path:
    from jgo.maven import MavenContext  # noqa: PLC0415  comes with the extra `embedded`, which production goes without

    group, artifact, version = coordinate.split(":")
    try:
        path: Path = MavenContext(repo_cache=cache).project(group, artifact).at_version(version).artifact().resolve()
    except Exception as error:  # requests', urllib3's, jgo's own: whichever, the jar is missing
        raise Fatal(
            f"Apache Kafka {KAFKA_VERSION} could not be downloaded from Maven Central ({coordinate}: {error}). "
            "Check the network and its proxy, or set kafka.bootstrap_servers to a Kafka of your own"
        ) from error
    return path


def write_lock(cache: Path) -> None:
    """Resolve the jars of KAFKA_VERSION and write the lock."""
    import jgo  # noqa: PLC0415

    wanted = (
        f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
        f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",  # named: the resolver takes 3.8.0, and the broker dies of it
        "org.apache.logging.log4j:log4j-core:2.24.3",
        "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
    )
    lines = []
    for artifact in jgo.resolve("+".join(wanted)):
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        with _downloaded(cache, coordinate).open("rb") as file:
            lines.append(f"{coordinate} {file_digest(file, 'sha256').hexdigest()}")
    _LOCK.write_text("\n".join(sorted(lines)) + "\n")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    write_lock(Path.home() / ".cache" / "gridstream" / "jars")
