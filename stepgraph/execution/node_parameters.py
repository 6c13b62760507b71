"""What a function of a graph takes: the state, and any of ``config``, ``runtime``, ``store``, ``writer``, ``previous``.

Owns the reading of a signature, once, when the function is added to a graph. A parameter is known by its annotation
(`RunnableConfig`, `Runtime`, `BaseStore`, `StreamWriter`, `NodeError`), otherwise by its name. The first parameter that
is none of these gets the state. Knows nothing of where the values come from (`stepgraph.execution.task_context`).
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Annotated, Any, Final, Union, get_args, get_origin

STATE: Final = "state"
_NAMES: Final = ("config", "runtime", "store", "writer", "previous")
_BY_TYPE: Final = {
    "RunnableConfig": "config",
    "Runtime": "runtime",
    "BaseStore": "store",
    "StreamWriter": "writer",
    "NodeError": "error",
}
_LIBRARIES: Final = ("stepgraph", "langgraph", "langchain_core")
_STREAM_WRITER: Final = Callable[[Any], None]
_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_VARIABLE: Final = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class NodeParameters:
    """How a function is called. The values are ``state``, ``config``, ``runtime``, ``store``, ``writer`` and so on."""

    positional: tuple[str, ...] = (STATE,)
    """The values that are passed by position, in order."""
    keywords: tuple[tuple[str, str], ...] = ()
    """The values that are passed by keyword: the parameter's name, and the value."""
    state: str | None = field(default=None, compare=False)
    """The name of the parameter that gets the state."""

    @property
    def taken(self) -> frozenset[str]:
        """The values that the function takes."""
        return frozenset((*self.positional, *(value for _, value in self.keywords)))


STATE_ALONE: Final = NodeParameters()
"""How a function is called that takes the state and nothing else."""


def parameters_of(function: Callable[..., Any]) -> NodeParameters:
    """Return what a function takes.

    Raises:
        TypeError: the function has a parameter without a default for which there is no value.
    """
    if is_runnable(function):
        return NodeParameters((STATE, "config"))
    parameters = _signature(function)
    if parameters is None:
        return STATE_ALONE
    bound = _bound_keywords(function)
    positional: list[str] = []
    keywords: list[tuple[str, str]] = []
    by_position, state_taken, state_name = True, False, None
    for parameter in parameters:
        if parameter.name in bound:
            continue
        if parameter.kind in _VARIABLE:
            if parameter.kind is Parameter.VAR_POSITIONAL and not state_taken and by_position:
                positional.append(STATE)
                state_taken = True
            by_position = False
            continue
        required = parameter.default is Parameter.empty
        may_be_state = not state_taken and (parameter.kind in _POSITIONAL or required)
        value = _value_for(parameter, may_be_state=may_be_state)
        if value is None and may_be_state:
            value, state_taken, state_name = STATE, True, parameter.name
        if value is None:
            if required:
                raise TypeError(f"there is no value for its parameter {parameter.name!r}")
            by_position = False
        elif by_position and parameter.kind in _POSITIONAL:
            positional.append(value)
        elif parameter.kind is Parameter.POSITIONAL_ONLY:
            raise TypeError(f"its parameter {parameter.name!r} cannot be passed by name")
        else:
            keywords.append((parameter.name, value))
    return NodeParameters(tuple(positional), tuple(keywords), state_name)


def is_runnable(value: object) -> bool:
    """Return whether an object is called by ``invoke`` and ``ainvoke``, as LangChain's Runnables are."""
    if isinstance(value, type):
        return False
    return all(callable(getattr(value, method, None)) for method in ("invoke", "ainvoke"))


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call of the function returns a coroutine; partials and objects with ``__call__`` included."""
    while hasattr(function, "func") and hasattr(function, "keywords"):  # functools.partial
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a node that is added without one: a function's, a Runnable's, or that of an object's class."""
    if is_runnable(function) and callable(get_name := getattr(function, "get_name", None)):
        return str(get_name())
    return str(getattr(function, "__name__", type(function).__name__))


def _signature(function: Callable[..., Any]) -> list[Parameter] | None:
    """Return a function's parameters, with evaluated annotations if that is possible; `None` for some builtins."""
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except Exception:  # to evaluate an annotation can raise anything
        try:
            return list(inspect.signature(function).parameters.values())
        except (ValueError, TypeError):
            return None


def _bound_keywords(function: Any) -> Mapping[str, Any]:
    """Return the keywords that `functools.partial` has bound: they are the author's, whatever they are named."""
    bound: dict[str, Any] = {}
    while hasattr(function, "func") and hasattr(function, "keywords"):
        bound, function = {**function.keywords, **bound}, function.func
    return bound


def _value_for(parameter: Parameter, *, may_be_state: bool) -> str | None:
    """Return the value for a parameter other than the state; `None` if there is none.

    A parameter of a known name and another annotation is the state if it is the first: ``def node(store: State)``. A
    ``store`` or ``writer`` with another annotation and a default is the function's own.
    """
    if (value := _value_of_type(parameter.annotation)) is not None:
        return value
    if parameter.name not in _NAMES:
        return None
    if parameter.annotation in (Parameter.empty, Any, "Any"):
        return parameter.name
    is_own = parameter.name in ("store", "writer") and parameter.default is not Parameter.empty
    return None if may_be_state or is_own else parameter.name


def _value_of_type(annotation: Any) -> str | None:
    """Return the value that an annotation stands for: a class of one of the libraries, an alias, or its name."""
    if isinstance(annotation, str):
        words = re.sub(r"\[.*\]", "", re.sub(r"^(\w+\.)*Optional\[(.*)\]$", r"\2", annotation.strip()))
        names = [word.strip().rpartition(".")[2] for word in words.split("|")]
        return next((_BY_TYPE[name] for name in names if name in _BY_TYPE), None)
    if isinstance(annotation, typing.ForwardRef):
        return _value_of_type(annotation.__forward_arg__)
    if annotation == _STREAM_WRITER:
        return "writer"
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return next((value for each in get_args(annotation) if (value := _value_of_type(each)) is not None), None)
    if origin is Annotated:
        return _value_of_type(get_args(annotation)[0])
    known = [
        _BY_TYPE[base.__name__]
        for base in getattr(origin or annotation, "__mro__", (origin or annotation,))
        if getattr(base, "__name__", None) in _BY_TYPE and base.__module__.partition(".")[0] in _LIBRARIES
    ]
    return known[0] if known else None
