"""How long tests wait for something that will happen: one setting for all of them.

A test that waits for a condition ends as soon as the condition holds. How long that takes depends on the machine, so no
test has a limit of its own: a limit only decides when a test gives up because the condition will never hold.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = float(os.environ.get("STEPGRAPH_TEST_PATIENCE") or 120)
"""Seconds after which a test gives up waiting. The environment variable STEPGRAPH_TEST_PATIENCE sets another limit."""

PAUSE = 0.02
"""Seconds between two looks at a condition."""


async def eventually(condition: Callable[[], T | Awaitable[T]], describe: Callable[[], object] = str) -> T:
    """Wait until a condition holds, and return the value that it then has.

    Args:
        condition: returns a true value once it holds; may be async.
        describe: returns what a failure should show besides the condition itself.

    Raises:
        AssertionError: the condition did not hold within `PATIENCE` seconds.

    Example:
        >>> await eventually(lambda: "begun" in events)  # doctest: +SKIP
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                value = condition()
                if inspect.isawaitable(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE:g} s: {_source(condition)} {describe()}") from None


def eventually_sync(condition: Callable[[], T], describe: Callable[[], object] = str) -> T:
    """Wait as `eventually` does, blocking the thread, for a condition that is not async."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {_source(condition)} {describe()}"
        time.sleep(PAUSE)
    return value


def _source(condition: Callable[[], object]) -> str:
    """Return the code of a condition, for the message of a failure."""
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)
