"""stepgraph runs LangGraph-style graphs durably on Temporal.

Everything public is importable from here, and loaded when it is first used: ``import stepgraph`` loads no Temporal SDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepgraph.client import GraphClient, GraphRun
    from stepgraph.compiled import CompiledGraph
    from stepgraph.constants import END, START
    from stepgraph.graph import StateGraph
    from stepgraph.interrupts import Command, Interrupt, interrupt
    from stepgraph.plugin import GraphPlugin
    from stepgraph.retry import RetryPolicy
    from stepgraph.snapshot import StateSnapshot, TaskSnapshot

__version__ = "0.1.0"

_WHERE = {
    "Command": "stepgraph.interrupts",
    "CompiledGraph": "stepgraph.compiled",
    "END": "stepgraph.constants",
    "GraphClient": "stepgraph.client",
    "GraphPlugin": "stepgraph.plugin",
    "GraphRun": "stepgraph.client",
    "Interrupt": "stepgraph.interrupts",
    "RetryPolicy": "stepgraph.retry",
    "START": "stepgraph.constants",
    "StateGraph": "stepgraph.graph",
    "StateSnapshot": "stepgraph.snapshot",
    "TaskSnapshot": "stepgraph.snapshot",
    "interrupt": "stepgraph.interrupts",
}

__all__ = [
    "END",
    "START",
    "Command",
    "CompiledGraph",
    "GraphClient",
    "GraphPlugin",
    "GraphRun",
    "Interrupt",
    "RetryPolicy",
    "StateGraph",
    "StateSnapshot",
    "TaskSnapshot",
    "interrupt",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
