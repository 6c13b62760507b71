"""Calls a node's function or a router: on the event loop if it is async, otherwise off the loop.

Owns how user code is called, and what Python's own exceptions become. A LangChain Runnable is called by ``ainvoke``, as
LangGraph's ``ainvoke`` does; the chunks of a generator are added up, as LangChain does. Knows nothing of what is
returned.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

from stepgraph.execution.node_parameters import NodeParameters, is_async, is_runnable
from stepgraph.execution.task_context import CurrentTask, TaskContext

RunSync = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a function that is not async, off the event loop."""


async def call_function(
    function: Callable[..., Any], parameters: NodeParameters, node_state: Any, context: TaskContext, run_sync: RunSync
) -> Any:
    """Call a node or a router with what it takes. If it returns a Runnable, that is called with the state, too."""
    with CurrentTask(context):
        if is_runnable(function):
            return await _invoke(function, node_state, context)
        taken = {name: node_state if name == "state" else context.value(name) for name in parameters.taken}
        arguments = [taken[name] for name in parameters.positional]
        keywords = {parameter: taken[name] for parameter, name in parameters.keywords}
        if is_async(function):
            returned = await function(*arguments, **keywords)
        else:
            returned = await run_sync(lambda: _call_sync(function, arguments, keywords))
            if inspect.isasyncgen(returned) and inspect.isasyncgenfunction(function):
                returned = await _sum_async(returned)
            elif inspect.isawaitable(returned):
                returned = await returned
        return await _invoke(returned, node_state, context) if is_runnable(returned) else returned


async def _invoke(runnable: Any, node_state: Any, context: TaskContext) -> Any:
    return await runnable.ainvoke(node_state, context.config)


def _call_sync(function: Callable[..., Any], arguments: list[Any], keywords: dict[str, Any]) -> Any:
    """Call a function; raise `RuntimeError` for exceptions that Python gives a meaning of their own.

    A `StopIteration` would leave a future pending for ever, a `GeneratorExit` would close the coroutines that await it.
    """
    try:
        returned = function(*arguments, **keywords)
        return _sum(returned) if inspect.isgeneratorfunction(function) else returned
    except (StopIteration, GeneratorExit) as error:
        raise RuntimeError(f"raised {error!r}") from error


def _sum(chunks: Iterable[Any]) -> Any:
    """Return the sum of what a generator yields; the last chunk where chunks cannot be added, as mappings cannot."""
    total: Any = None
    for chunk in chunks:
        total = _plus(total, chunk)
    return total


async def _sum_async(chunks: AsyncIterable[Any]) -> Any:
    total: Any = None
    async for chunk in chunks:
        total = _plus(total, chunk)
    return total


def _plus(total: Any, chunk: Any) -> Any:
    if total is None:
        return chunk
    try:
        return total + chunk
    except TypeError:
        return chunk
