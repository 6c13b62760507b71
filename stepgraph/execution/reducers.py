"""Reducers: which of them a built-in fold stands for, how the others fold, and what tells one from another."""

from __future__ import annotations

import inspect
import operator
import textwrap
import types
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from stepgraph.engine.changes import NOTHING
from stepgraph.engine.folds import ADD_FLOATS, ADD_INTS, APPEND, JOIN, MERGE, MESSAGES
from stepgraph.execution.message_reducer import only_merges
from stepgraph.serde.message_list import MESSAGE_LIST
from stepgraph.serde.stable_name import stable_name

Reducer = Callable[[Any, Any], Any]
"""Takes a channel's value and an update, and returns the new value."""

_BUILT_IN_FOLDS: Final = {
    (operator.add, "list"): APPEND,
    (operator.add, "int"): ADD_INTS,
    (operator.add, "float"): ADD_FLOATS,
    (operator.add, "str"): JOIN,
    (operator.or_, "dict"): MERGE,
}
"""The pairs of a reducer and a kind of type whose fold on JSON data equals the reducer.

All else is custom. ``"1.10" + "2"`` is no sum of decimals, and a set's members would have to be sorted again.
"""

_PYTHON_BUILT_IN: Final = (types.BuiltinFunctionType, types.WrapperDescriptorType, types.MethodDescriptorType)


class CustomFold(Protocol):
    """A fold that only the graph's code has."""

    every_step: bool
    """Whether it also runs in super-steps that wrote nothing to the channel."""

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the value after all writes of one super-step, in the order of the tasks; it owns its arguments.

        ``value`` is `NOTHING` for a channel that has none; so may be the result, if there are no writes.
        """


class WriteError(Exception):
    """A reducer failed on the write number ``number``, counted from 0. Its cause is the reducer's own exception."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class PairwiseFold:
    """The fold of a reducer, which takes one write after the other."""

    every_step = False

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer

    def fold(self, value: Any, writes: Sequence[Any]) -> Any:
        """Return the value after all writes. Without a value, the first write becomes it. Raises `WriteError`."""
        for number, write in enumerate(writes):
            try:
                value = write if value is NOTHING else self._reducer(value, write)
            except BaseException as error:  # a reducer must neither end its worker nor look like a cancelled task
                raise WriteError(number) from error
        return value


def built_in_fold(reducer: Reducer, kind: str) -> str | None:
    """Return the built-in fold that stands for a reducer of a type of this plain kind; `None` if there is none."""
    if kind == MESSAGE_LIST:
        return MESSAGES if only_merges(reducer) else None
    try:
        return _BUILT_IN_FOLDS.get((reducer, kind))
    except TypeError:  # the reducer is not hashable
        return None


def accepts_any_update(reducer: Reducer) -> bool:
    """Return whether a reducer without annotations may take updates of another type than its channel's."""
    return not isinstance(reducer, _PYTHON_BUILT_IN)


def reducer_name(reducer: Any) -> str:
    """Return a reducer's name, which is the same in every process; of a `functools.partial`, the inner function's."""
    reducer = _inner(reducer)
    return str(getattr(reducer, "__name__", type(reducer).__name__))


def reducer_text(reducer: Any) -> str:
    """Return what tells a reducer from others, the same in every process: its `stable_name` and its source text.

    `add_messages` is the same reducer in every version of LangGraph, and of stepgraph.
    """
    if only_merges(reducer):
        return "add_messages"
    code = _inner(reducer)
    code = code if hasattr(code, "__qualname__") else type(code)
    try:
        source = textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError):  # written in C, or typed at a prompt
        source = ""
    return f"{stable_name(code)}\n{source}"


def _inner(function: Any) -> Any:
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    return function
