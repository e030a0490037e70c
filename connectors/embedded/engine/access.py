"""The engine's configuration: the two roles, the memory and the cores it may use, the database `default`.

Rights are ClickHouse's own. The engine knows one user, to whom chDB connects; a connection that serves a reader takes
the role of one (`SET ROLE reader`), which it can't leave as long as it isn't given SET ROLE to run (see `reader`).
"""

import os
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil

SETTINGS_FILE = "engine.xml"
_ACCESS_FILE = "access.xml"
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")

_ACCESS = """\
<clickhouse>
    <users><default>
        <password></password>
        <networks><ip>::/0</ip></networks>
        <profile>default</profile>
        <quota>default</quota>
        <grants><query>GRANT owner</query><query>GRANT reader</query></grants>
    </default></users>
    <roles>
        <owner><grants><query>GRANT ALL ON *.* WITH GRANT OPTION</query></grants></owner>
        <reader><grants><query>GRANT SHOW, SELECT, dictGet ON *.*</query></grants></reader>
    </roles>
    <profiles><default>
        <max_memory_usage>{query}</max_memory_usage>
        <implicit_select>0</implicit_select><!-- as a server has it; chDB's own default is the command line's -->
        <allow_introspection_functions>0</allow_introspection_functions>
        <constraints>
            <max_memory_usage><min>1</min><max>{query}</max></max_memory_usage>
            <send_logs_level><const/></send_logs_level><!-- they would go to this process's stderr -->
        </constraints>
    </default></profiles>
    <quotas><default></default></quotas>
</clickhouse>
"""
_SETTINGS = """\
<clickhouse>
    <users_config>{access}</users_config>
    <default_database></default_database><!-- chDB's own takes the name of a table for the path of a file -->
    <database>default</database>
    <max_server_memory_usage>{total}</max_server_memory_usage>
    <cache_size_to_ram_max_ratio>0.1</cache_size_to_ram_max_ratio>
    <background_pool_size>{merges}</background_pool_size>
    <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
    <merge_tree>{free_for}</merge_tree>
</clickhouse>
"""
_FREE_FOR = "<number_of_free_entries_in_pool_to_{what}>{places}</number_of_free_entries_in_pool_to_{what}>"
_LEAST_MERGES, _MOST_MERGES = 2, 16
"""At once; a server's 32 on any machine only slow each other down on a small one, and each has its parts in memory."""


class Memory(NamedTuple):
    """What may be used at most, in bytes: by everything together, and by one query."""

    total: int
    query: int

    @classmethod
    def share(cls, total: int) -> "Memory":
        """One query gets so much that inserts still pass beside it."""
        return cls(total, total * 7 // 10)


def half_of_the_machine() -> int:
    """Half of what the machine, or the container, has, in bytes; the other half is for Kafka and the workers."""
    machine = psutil.virtual_memory().total
    try:
        return min(machine, int(_CGROUP_LIMIT.read_text())) // 2
    except (OSError, ValueError):  # not in a container, or "max"
        return int(machine) // 2


def write(folder: Path, memory: Memory) -> None:
    """Write the configuration anew into the engine's folder, and into a new folder an ordinary database `default`."""
    (folder / _ACCESS_FILE).write_text(_ACCESS.format(query=memory.query))
    merges = max(_LEAST_MERGES, min(len(os.sched_getaffinity(0)), _MOST_MERGES))
    free_for = {
        "lower_max_size_of_merge": merges,  # so that large ones leave a place for small ones
        "execute_mutation": 1,
        "execute_optimize_entire_partition": 1,
    }
    settings = _SETTINGS.format(
        access=_ACCESS_FILE,
        total=memory.total,
        merges=merges,
        free_for="".join(_FREE_FOR.format(what=what, places=places) for what, places in free_for.items()),
    )
    (folder / SETTINGS_FILE).write_text(settings)
    default = folder / "metadata" / "default.sql"
    if not default.exists():
        default.parent.mkdir(exist_ok=True)
        default.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
