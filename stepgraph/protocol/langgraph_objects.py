"""LangGraph's own `Command`, `Send` and `Overwrite`, as ours: whoever may return one may return the other.

They are recognised by the names of their class and its module, so LangGraph need not be installed.
"""

from __future__ import annotations

from typing import Any, Final

from stepgraph.engine.folds import OVERWRITE, is_overwrite
from stepgraph.protocol.interrupts import Command
from stepgraph.protocol.overwrite import Overwrite
from stepgraph.protocol.send import Send

_MODULE: Final = "langgraph.types"
_PLAIN: Final = frozenset({dict, list, tuple, str, int, float, bool, type(None)})


def from_langgraph(value: Any) -> Any:
    """Return LangGraph's `Command`, `Send` or `Overwrite` as ours; every other value as it is."""
    if type(value) in _PLAIN:
        return value
    names = {cls.__name__ for cls in type(value).__mro__ if cls.__module__ == _MODULE}
    if "Send" in names:
        return Send(value.node, value.arg)
    if "Overwrite" in names:
        return Overwrite(value.value)
    if "Command" in names:
        return Command(graph=value.graph, update=value.update, resume=value.resume, goto=value.goto)
    return value


def as_overwrite(value: Any) -> Overwrite | None:
    """Return a write as an `Overwrite`, if it is one in any of LangGraph's forms; otherwise `None`.

    Beside the class, these are ``{"__overwrite__": value}`` and ``{"type": "__overwrite__", "value": value}``.
    """
    if isinstance(value, dict):
        if is_overwrite(value):
            return Overwrite(value[OVERWRITE])
        return Overwrite(value["value"]) if value.get("type") == OVERWRITE and "value" in value else None
    value = from_langgraph(value)
    return value if isinstance(value, Overwrite) else None


def is_command_class(cls: Any) -> bool:
    """Return whether a class is our `Command` or LangGraph's."""
    return cls is Command or (
        getattr(cls, "__module__", None) == _MODULE and getattr(cls, "__name__", None) == "Command"
    )
