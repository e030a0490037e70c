"""The way of a result from the engine's thread to the event loop."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator

SIZE = 1 << 20  # the engine's own buffer before it is as large


class Pipe:
    """A pipe that the engine writes to as its command line writes INTO OUTFILE.

    So a result in any format comes as one stream, in bounded memory: when the pipe is full, the engine waits.

    Attributes:
        path: Where the engine writes.
        format: The format of what comes.
        written: Whether a statement is running that writes here.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self.path = f"/dev/fd/{self._writing}"
        self.format = ""
        self.written = False
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with contextlib.suppress(OSError):  # the system bounds what a user may have in pipes
                fcntl.fcntl(self._writing, fcntl.F_SETPIPE_SZ, SIZE)

    def end(self) -> None:
        """Nothing more will be written."""
        os.close(self._writing)

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[asyncio.StreamReader]:
        """The end to read from. Once it is closed, writing fails."""
        stream = asyncio.StreamReader(limit=SIZE)
        file = os.fdopen(self._reading, "rb", buffering=0)
        connect = asyncio.get_running_loop().connect_read_pipe
        transport, _ = await connect(lambda: asyncio.StreamReaderProtocol(stream), file)
        try:
            yield stream
        finally:
            transport.close()
