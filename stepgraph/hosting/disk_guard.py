"""Tells that the disk of the embedded server is full.

The server cannot tell: it retries a write that fails without end, and cannot write that into its log either. So the
folder is tried by writing to it (`has_room` of the keeper). Knows nothing of what the server has to write.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.service import RPCError

from stepgraph.errors import ServerError
from stepgraph.temporal.daemon_executor import off_loop
from stepgraph.temporal.logs import get_logger

log = get_logger("disk_guard")

LOOK_SECONDS = 2.0
"""The pause between two looks at the disk while a call waits."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The operating system's errors that mean a full disk or a used-up quota."""


@asynccontextmanager
async def disk_guard(folder: Path | None) -> AsyncIterator[None]:
    """Interrupt the body if the disk of the embedded server is full, so that a caller need not wait for the server.

    Args:
        folder: the server's folder; None if the server is not an embedded one, whose disk is not looked at.

    Raises:
        ServerError: the disk was full at two looks in succession, or when the server failed a request of the body.
    """
    if folder is None:
        yield
        return
    body = asyncio.current_task()
    assert body is not None, "a context manager is entered by a task"
    watching = asyncio.ensure_future(_until(folder, full=True))
    interrupted = left = False

    def interrupt(watching: asyncio.Task[None]) -> None:
        nonlocal interrupted
        if watching.cancelled():
            return
        if (fault := watching.exception()) is not None:
            log.warning("the disk of the embedded server cannot be watched", folder=str(folder), error=fault)
        elif not left:  # this callback comes a moment after the watcher's end
            interrupted = True
            body.cancel()

    watching.add_done_callback(interrupt)
    try:
        try:
            yield
        finally:
            left = True
            watching.cancel()
            if interrupted:
                body.uncancel()
    except asyncio.CancelledError:
        if interrupted and not body.cancelling():  # otherwise somebody else cancels the body, too
            raise disk_full(folder) from None
        raise
    except (RPCError, ServerError) as error:
        if await is_full(folder):
            raise disk_full(folder) from error
        raise


async def report_full_disk(folder: Path | None, report: Callable[[str], object]) -> None:
    """Report each time that the disk of the embedded server becomes full. Never returns."""
    while folder is not None:
        await _until(folder, full=True)
        report(str(disk_full(folder)))
        await _until(folder, full=False)
    await asyncio.Event().wait()


def disk_full(folder: Path) -> ServerError:
    """Return the error for a full disk."""
    free = shutil.disk_usage(folder).free
    return ServerError(
        f"The disk of the embedded Temporal server is full: {free:,} bytes are free for {folder}. Make room there, or "
        "raise the quota. What has finished is kept. Threads go on by themselves once there is room; "
        "invoke(None, config) waits for one.",
        folder=str(folder),
        free_bytes=free,
    )


async def is_full(folder: Path) -> bool:
    """Return whether the disk has no room for the server."""
    return not await off_loop(_has_room, folder)


def _has_room(folder: Path) -> bool:
    from stepgraph.hosting._server_keeper import has_room  # here, because Windows has no fcntl

    return has_room(folder)


async def _until(folder: Path, *, full: bool) -> None:
    """Return when the disk was full, or not full, at two looks in succession: a file may be there for a moment only."""
    agreeing_looks = 0
    while agreeing_looks < 2:
        await asyncio.sleep(LOOK_SECONDS)
        agreeing_looks = agreeing_looks + 1 if await is_full(folder) is full else 0
