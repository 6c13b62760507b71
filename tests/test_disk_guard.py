"""Tests of the disk guard: it interrupts the block that it guards, and nothing after it."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepgraph.errors import ServerError
from stepgraph.hosting import _server_keeper
from stepgraph.hosting.disk_guard import FULL, disk_guard


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder in which the process may write no file that is as large as the room that a server needs."""
    monkeypatch.setattr("stepgraph.hosting.disk_guard.LOOK_SECONDS", 0.01)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_server_keeper.NEEDED_BYTES - 1, hard))
    try:
        yield tmp_path
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_interrupts_the_block(full_disk: Path) -> None:
    """The caller learns of the full disk, and its task counts as not cancelled."""
    with pytest.raises(ServerError, match="disk of the embedded Temporal server is full"):
        async with disk_guard(full_disk):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_block_that_ends_as_the_disk_is_found_full_has_ended(full_disk: Path) -> None:
    """Nothing after the block is cancelled, though the watcher had found the disk full when the block ended."""
    before = asyncio.all_tasks()
    async with disk_guard(full_disk):
        (watching,) = asyncio.all_tasks() - before
        while not watching.done():
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_watcher_that_fails_interrupts_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that cannot be looked at is not a full one: the block goes on, and a log line has the reason."""
    monkeypatch.setattr("stepgraph.hosting.disk_guard.LOOK_SECONDS", 0.01)
    before = asyncio.all_tasks()
    async with disk_guard(Path("no\0folder")):
        (watching,) = asyncio.all_tasks() - before
        await asyncio.wait([watching])
        await asyncio.sleep(0)
    assert "cannot be watched" in caplog.text
    assert "null" in caplog.text


def test_the_keeper_and_its_users_agree_on_what_a_full_disk_is() -> None:
    """The keeper may import nothing of stepgraph's, so it has the errors of a full disk a second time."""
    assert _server_keeper.FULL == FULL
