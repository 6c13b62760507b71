"""A checkpointer, which in these tests stands for a set of threads, and what is kept of each."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from adapter.not_applicable import not_applicable
from adapter.server_runner import SERVER, ServerRunner
from langgraph.checkpoint.memory import InMemorySaver

from stepgraph.testing import MemoryRunner


class Threads(InMemorySaver):
    """A saver that saves nothing: stepgraph keeps the checkpoints. Its identity says which graphs share threads."""

    def _refuse(self, *arguments: Any, **keywords: Any) -> NoReturn:
        not_applicable("the methods of a checkpointer")

    get = get_tuple = list = put = put_writes = delete_thread = _refuse
    aget = aget_tuple = alist = aput = aput_writes = adelete_thread = _refuse


_KEPT: WeakKeyDictionary[Any, tuple[str, dict[str, Any]]] = WeakKeyDictionary()
"""For each checkpointer, a name, and the runs of its threads."""


def runner_for(compiled: Any, checkpointer: Any) -> Any:
    """Return a runner of a graph. Graphs with the same checkpointer share threads; without one, nothing is shared."""
    kept: tuple[str, dict[str, Any]] = (uuid.uuid4().hex, {})
    if isinstance(checkpointer, InMemorySaver):
        kept = _KEPT.setdefault(checkpointer, kept)
    if SERVER:
        return ServerRunner(compiled, kept[0])
    runner = MemoryRunner(compiled)
    runner._runs = kept[1]
    return runner
