"""Calls a node's function or a router: on the event loop if it is async, otherwise off the loop.

Owns how user code is called, and what Python's own exceptions become. Knows nothing of what it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from stepgraph.execution.registry import is_async

RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function that is not async, off the event loop."""


async def call_function(
    function: Callable[..., Any], node_state: Any, config: dict[str, Any] | None, run_sync: RunSync
) -> Any:
    """Call a node or a router, with a config if it takes one."""
    keywords = {} if config is None else {"config": config}
    if is_async(function):
        return await function(node_state, **keywords)
    returned = await run_sync(lambda: _call_sync(function, node_state, keywords))
    return await returned if inspect.isawaitable(returned) else returned


def _call_sync(function: Callable[..., Any], node_state: Any, keywords: dict[str, Any]) -> Any:
    """Call a function; raise `RuntimeError` for exceptions that Python gives a meaning of their own.

    A `StopIteration` would leave a future pending for ever, a `GeneratorExit` would close the coroutines that await it.
    """
    try:
        return function(node_state, **keywords)
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"raised {error!r}") from error
