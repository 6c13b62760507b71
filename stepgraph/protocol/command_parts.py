"""The parts of a `Command`, which are read alike whether a node returns it or a caller passes it as an input."""

from __future__ import annotations

from typing import Any

from stepgraph.protocol.langgraph_objects import from_langgraph


def mappings_of_pairs(update: Any) -> list[dict[str, Any]] | None:
    """Return a mapping for each pair of an ``update`` that is a list of ``(key, value)``; `None` for any other.

    The list may name a key twice: its values are written one after another.
    """
    if isinstance(update, list | tuple) and all(_is_pair(item) for item in update):
        return [{name: value} for name, value in update]
    return None


def destinations_of(goto: Any) -> list[Any]:
    """Return what a ``goto`` names, one or several, in order: nodes, and `Send`s, LangGraph's as ours."""
    return [from_langgraph(item) for item in (goto if isinstance(goto, list | tuple) else (goto,))]


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
