"""Where routers and commands may lead, as far as a graph's author says so: by a list, a mapping or an annotation."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from stepgraph.errors import GraphDefinitionError
from stepgraph.graph import validation
from stepgraph.protocol.langgraph_objects import is_command_class

PathMap = Mapping[Hashable, str] | Sequence[str]
Destinations = Mapping[str, str] | Sequence[str]


def router_ends(
    source: str, path: Callable[..., Any], path_map: PathMap | None
) -> tuple[Mapping[Any, str] | None, tuple[str, ...] | None, tuple[str, ...] | None]:
    """Read where a router may lead, from its ``path_map`` or its return annotation.

    Returns:
        The mapping from the router's results to nodes; its possible destinations; and a label for each of these in a
        drawing. Each is `None` if unknown.
    """
    if path_map is not None:
        if not isinstance(path_map, Mapping | list | tuple) or not path_map:
            raise GraphDefinitionError(
                f"The path_map of {source!r} must be a mapping to nodes, or a list of nodes; got {path_map!r}. "
                "Leave it out if the router may lead anywhere.",
                node=source,
            )
        names = path_map.values() if isinstance(path_map, Mapping) else dict.fromkeys(path_map)
        ends = tuple(validation.node_name(f"The path_map of {source!r}", name) for name in names)
        if isinstance(path_map, Mapping):
            return dict(path_map), ends, tuple(str(label) for label in path_map)
        return None, ends, None
    hint = _return_hint(path)
    if get_origin(hint) in (list, tuple, Sequence, typing.Sequence):
        hint = get_args(hint)[0]
    if get_origin(hint) is Literal:
        return None, tuple(str(name) for name in get_args(hint)), None
    return None, None, None


def command_ends(
    node: str, function: Callable[..., Any], destinations: Destinations | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Read where a node's commands may lead, from ``destinations`` or from the return annotation of its function.

    ``Command[Literal["a", "b"]]`` may stand in a union, or be what a list has.

    Returns:
        The destinations, and a label for each of them in a drawing. Each is `None` if unknown.
    """
    if destinations is not None:
        if isinstance(destinations, str) or not isinstance(destinations, Mapping | Iterable):
            raise GraphDefinitionError(
                f"Node {node!r}: destinations must be a list of nodes, or a mapping from nodes to labels; got "
                f"{destinations!r}.",
                node=node,
            )
        ends = tuple(validation.node_name(f"The destinations of {node!r}", name) for name in destinations)
        labels = tuple(map(str, destinations.values())) if isinstance(destinations, Mapping) else None
        return ends, labels
    names: list[str] = []
    for hint in _alternatives(_return_hint(function)):
        arguments = get_args(hint)
        if is_command_class(get_origin(hint)) and arguments and get_origin(arguments[0]) is Literal:
            names += [str(name) for name in get_args(arguments[0])]
    return (tuple(dict.fromkeys(names)) or None), None


def _return_hint(function: Any) -> Any:
    """Return the return annotation of a function or of an object with ``__call__``; `None` if there is none."""
    while isinstance(function, partial):
        function = function.func
    called = function if inspect.isroutine(function) else getattr(type(function), "__call__", function)  # noqa: B004
    try:
        return get_type_hints(called).get("return")
    except Exception:  # annotations that cannot be evaluated, or an object that has none
        return None


def _alternatives(hint: Any) -> Iterator[Any]:
    """Yield the parts of a union, and what a list has; any other annotation itself."""
    if get_origin(hint) in (typing.Union, UnionType, list, tuple, Sequence, typing.Sequence):
        for part in get_args(hint):
            yield from _alternatives(part)
    else:
        yield hint
