"""The first question of clickhouse-go, Grafana's driver, and the answer that keeps it talking to us.

To the driver a server has a revision, and its Native format is that of the revision: blocks with a header, columns with
a flag. The engine writes only the plain one, which is that of revision 0. So revision 0 is what this answer names. It
comes itself in the revision that the driver reads it in: the one in `client_protocol_version`, or 0.
"""

import re
import struct

_QUESTION = re.compile(rb"\s*SELECT\s+displayName\(\),\s*version\(\),\s*revision\(\),\s*timezone\(\)\s*", re.IGNORECASE)
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"  # not an overflow block, no bucket
_WITH_FLAGS = 54454  # the revision since which a column says whether its serialization is a special one


def asks(text: bytes, output_format: str) -> bool:
    """Whether a statement is that question."""
    return output_format == "Native" and _QUESTION.fullmatch(text) is not None


def answer(name: str, version: str, timezone: str, protocol_version: int) -> bytes:
    """One Native block of one row: the server's name, version, revision 0, timezone."""
    flagged = protocol_version >= _WITH_FLAGS
    columns = (
        ("displayName()", "String", _string(name)),
        ("version()", "String", _string(version)),
        ("revision()", "UInt32", struct.pack("<I", 0)),
        ("timezone()", "String", _string(timezone)),
    )
    flag = b"\x00" if flagged else b""
    data = b"".join(_string(column) + _string(kind) + flag + value for column, kind, value in columns)
    return (_BLOCK_INFO if flagged else b"") + bytes((len(columns), 1)) + data


def _string(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data  # a length below 128 is one byte
