"""The built-in folds: how a channel's value and a write become its next value, both as JSON data.

A run records in its spec which fold each channel has, with the fold's version. Its results are therefore the same on
every worker and in every replay, whatever the code of the graph becomes. A fold of this table never changes; another
behaviour gets another version.

Each fold is held against the reducer that it stands for by a property: ``tests/core/test_folds.py``. Which pairs of
reducer and type have a built-in fold is decided by `stepgraph.execution.reducers`; all other reducers are custom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

LAST_VALUE: Final = "last_value"
"""The fold of a channel without a reducer: the write is the value. Two writes in one super-step are an error."""

CUSTOM: Final = "custom"
"""The fold of a reducer that only the graph's code has. It runs in activities; see `stepgraph.engine.folding`."""

OVERWRITE: Final = "__overwrite__"
"""The only key of a write that replaces the value of a channel with a reducer, instead of being folded in."""

APPEND: Final = "append@1"
ADD_INTS: Final = "add_ints@1"
ADD_FLOATS: Final = "add_floats@1"
JOIN: Final = "join@1"
MERGE: Final = "merge@1"
MESSAGES: Final = "messages@1"

_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""The floats that JSON does not have, by the text that stands for them (`stepgraph.serde.type_codec`)."""

MAX_BITS: Final = 14_280
"""Bits of an integer of at most 4,299 digits. JSON parsers refuse integers of more than 4,300."""

REMOVE_ALL: Final = "__remove_all__"
"""The id of a removal of all messages, as in LangGraph."""


def is_overwrite(write: Any) -> bool:
    """Return whether a write, as JSON data, replaces the value of a channel with a reducer."""
    return isinstance(write, dict) and write.keys() == {OVERWRITE}


def _append(value: list[Any], write: list[Any]) -> list[Any]:
    """`operator.add` of two lists."""
    return [*value, *write]


def _add_ints(value: int, write: int) -> int:
    """`operator.add` of two integers. `ValueError` if the sum has more digits than JSON parsers take.

    Code that was deployed since may declare floats, and write them.
    """
    total = value + write
    if isinstance(total, int) and total.bit_length() > MAX_BITS:
        raise ValueError("the sum has more than 4,299 digits")
    return total


def _add_floats(value: float | str, write: float | str) -> float | str:
    """`operator.add` of two floats."""
    total = _as_float(value) + _as_float(write)
    if math.isfinite(total):
        return total
    return "NaN" if math.isnan(total) else "Infinity" if total > 0 else "-Infinity"


def _join(value: str, write: str) -> str:
    """`operator.add` of two texts."""
    return value + write


def _merge(value: dict[str, Any], write: dict[str, Any]) -> dict[str, Any]:
    """`operator.or_` of two mappings."""
    return {**value, **write}


def _merge_messages(value: list[dict[str, Any]], write: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """LangGraph's ``add_messages``, on messages that have ids: replace or remove by id, append what is new.

    Raises:
        ValueError: a message is to be removed that is not there.
    """
    removal_of_all = [at for at, message in enumerate(write) if _removes(message) and message["id"] == REMOVE_ALL]
    if removal_of_all:
        return write[removal_of_all[-1] + 1 :]
    merged = list(value)
    places = {message["id"]: place for place, message in enumerate(merged)}
    removed: set[str] = set()
    for message in write:
        id = message["id"]
        if _removes(message):
            if id not in places:
                raise ValueError(f"Attempting to delete a message with an ID that doesn't exist ('{id}')")
            removed.add(id)
        elif id in places:
            removed.discard(id)
            merged[places[id]] = message
        else:
            places[id] = len(merged)
            merged.append(message)
    return [message for message in merged if message["id"] not in removed] if removed else merged


def _removes(message: Mapping[str, Any]) -> bool:
    return message.get("type") == "remove"


def _as_float(value: float | str) -> float:
    return _NOT_FINITE[value] if isinstance(value, str) else float(value)


BUILT_IN: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    APPEND: _append,
    ADD_INTS: _add_ints,
    ADD_FLOATS: _add_floats,
    JOIN: _join,
    MERGE: _merge,
    MESSAGES: _merge_messages,
}
"""By the name that a spec records. Each takes the value and the write, and changes neither."""
