"""A checkpointer, which in these tests stands for a set of threads, and what is kept of each."""

from __future__ import annotations

from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from adapter.not_applicable import not_applicable
from langgraph.checkpoint.memory import InMemorySaver


class Threads(InMemorySaver):
    """A saver that saves nothing: stepgraph keeps the checkpoints. Its identity says which graphs share threads."""

    def _refuse(self, *arguments: Any, **keywords: Any) -> NoReturn:
        not_applicable("the methods of a checkpointer")

    get = get_tuple = list = put = put_writes = delete_thread = _refuse
    aget = aget_tuple = alist = aput = aput_writes = adelete_thread = _refuse


_RUNS: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def runs_of(checkpointer: Any) -> dict[str, Any]:
    """Return the runs of a checkpointer's threads, which its graphs share. Without one, nothing is shared."""
    return _RUNS.setdefault(checkpointer, {}) if isinstance(checkpointer, InMemorySaver) else {}
