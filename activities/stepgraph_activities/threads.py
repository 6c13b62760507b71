"""Functions that are not async, off the event loop."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any


async def on_a_thread(executor: Executor, function: Callable[[], Any]) -> Any:
    """Calls it on a thread of the executor, in the context of the caller."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(executor, context.run, function)
