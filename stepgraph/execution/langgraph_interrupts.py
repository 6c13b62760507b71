"""LangGraph's own ``interrupt`` in a node of stepgraph: a tool of another library may call it.

Owns what that function looks for in the config, and how its exception becomes stepgraph's. Both functions count their
calls together, so answers match by the order of all calls. LangGraph is not imported: who calls its function has done
that.
"""

from __future__ import annotations

import sys
from typing import Any

from stepgraph.execution.scratchpad import GraphInterrupt, Scratchpad
from stepgraph.protocol.task_path import namespace_of


class _LangGraphScratchpad:
    """The counter and the answers, by the names that LangGraph's ``interrupt`` uses."""

    def __init__(self, scratchpad: Scratchpad) -> None:
        self._scratchpad = scratchpad
        self.resume = list(scratchpad.answers)

    def interrupt_counter(self) -> int:
        """Return the number of this call."""
        return self._scratchpad.next_call()

    def get_null_resume(self, consume: bool = False) -> Any:
        """Return the next answer, for a graph of LangGraph's that the node calls; `None` if there is none yet."""
        index = self._scratchpad.calls
        if index >= len(self._scratchpad.answers):
            return None
        return self._scratchpad.answers[self._scratchpad.next_call() if consume else index]


def keys_for_interrupts(scratchpad: Scratchpad, node: str, task_id: str) -> dict[str, Any]:
    """Return the keys of ``configurable`` that LangGraph's ``interrupt`` needs.

    By the task's id, a graph that the node calls sees that it is not the outermost, and raises its interrupts.
    """
    return {
        "__pregel_scratchpad": _LangGraphScratchpad(scratchpad),
        "__pregel_send": _ignore,
        "__pregel_task_id": task_id,
        "checkpoint_ns": namespace_of(node, task_id),
    }


def interrupt_from_langgraph(error: Exception, scratchpad: Scratchpad) -> GraphInterrupt | None:
    """Return stepgraph's exception for one of LangGraph's that asks for an answer; `None` for any other."""
    theirs = getattr(sys.modules.get("langgraph.errors"), "GraphInterrupt", None)
    if theirs is None or not isinstance(error, theirs) or not error.args or not error.args[0]:
        return None
    return scratchpad.interrupt_at(len(scratchpad.answers), error.args[0][0].value)


def _ignore(writes: Any) -> None:
    """Take what LangGraph's ``interrupt`` would record of the answers: they are recorded already."""
