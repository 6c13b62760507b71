"""The asyncio tasks that a node starts: what asyncio would let end the whole process is an error of theirs.

``sys.exit()`` in a tool that an agent calls is raised in a task of its own. asyncio raises `SystemExit` and
`KeyboardInterrupt` out of the event loop, beside recording them. The worker would end with all its other nodes, and
another worker make the attempt again, for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any

_in_node: ContextVar[bool] = ContextVar("stepgraph_in_node", default=False)


class GuardedTasks:
    """Guards the tasks that are started in a ``with`` block, and by them, on the running event loop.

    It is no `contextlib.contextmanager`, for the reason that `CurrentTask` gives.
    """

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop.get_task_factory(), _TaskFactory):
            loop.set_task_factory(_TaskFactory(loop.get_task_factory()))
        self._token = _in_node.set(True)

    def __exit__(self, *_error: object) -> None:
        _in_node.reset(self._token)


class _TaskFactory:
    """Makes tasks as the event loop did before; those of a node are guarded."""

    def __init__(self, former: Any) -> None:
        self._former = former

    def __call__(self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> Any:
        if _in_node.get() and asyncio.iscoroutine(work):
            work = _guarded(work)
        return self._former(loop, work, **options) if self._former else asyncio.Task(work, loop=loop, **options)


async def _guarded(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"raised {error!r}") from error
