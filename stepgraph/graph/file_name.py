"""The name of a graph whose author gives none: that of the file that calls `compile`.

A name is the graph's workflow type, and its task queue, on a Temporal server. So it must be the same in every process
that imports the file, and no two graphs of one file may share it.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.registry import GraphRegistry, HasRegistry

NAME_MAX: Final = 100
"""Characters of a graph's name."""

NOTEBOOK_VARIABLE: Final = "__vsc_ipynb_file__"
"""The global variable in which VS Code tells a notebook its file."""

NOTEBOOK_SETTING: Final = "JPY_SESSION_NAME"
"""The environment variable in which Jupyter tells a kernel its notebook."""

_named: dict[str, tuple[str, weakref.ref[HasRegistry]]] = {}
"""By name, the file and the graph that was named after it last."""


def name_of_calling_file() -> tuple[str, str]:
    """Return a graph's name, and the file that it is the name of: the first one on the stack that is not stepgraph's.

    Raises:
        GraphDefinitionError: the code was typed in, or its file has no letter or digit in its name.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "stepgraph":
        frame = frame.f_back
    file = _file_of(frame)
    if file is None:
        raise GraphDefinitionError(
            "A graph is named after the file that compiles it, and code that was typed in has none. Name the graph: "
            "compile(name='my-graph')."
        )
    return name_of_file(file), os.path.abspath(file)


def name_of_file(file: str) -> str:
    """Return the name of a graph that is named after a file.

    Raises:
        GraphDefinitionError: the file has no letter or digit in its name.
    """
    path = Path(os.path.abspath(file))
    stem = path.parent.name if path.stem in ("__init__", "__main__") else path.stem
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).lstrip("_-")[:NAME_MAX]
    if not name:
        raise GraphDefinitionError(
            f"A graph is named after the file that compiles it, and {path.name!r} has no letter or digit in its name. "
            "Name the graph: compile(name='my-graph')."
        )
    return name


def remember(graph: HasRegistry, file: str) -> None:
    """Note that a graph is named after a file.

    Raises:
        GraphDefinitionError: another graph of the file is, too.
    """
    name = graph.registry.name
    other_file, reference = _named.get(name, (file, None))
    other = reference() if reference is not None else None
    if other is not None and other_file == file and not _is_same_code(graph.registry, other.registry):
        raise GraphDefinitionError(
            f"Two graphs of {file} have no name, and both would be {name!r}. Name one of them: "
            "compile(name='my-graph').",
            graph=name,
        )
    _named[name] = file, weakref.ref(graph)


def _file_of(frame: FrameType | None) -> str | None:
    """Return the file that a frame's code is from, or that of its notebook; `None` if it was typed in."""
    if frame is None:
        return None
    file = frame.f_code.co_filename
    if not file.startswith("<") and "ipykernel_" not in file:
        return file
    if "get_ipython" not in frame.f_globals:
        return None
    notebook = frame.f_globals.get(NOTEBOOK_VARIABLE) or os.environ.get(NOTEBOOK_SETTING)
    return str(notebook) if notebook else None


def _is_same_code(registry: GraphRegistry, other: GraphRegistry) -> bool:
    """Return whether two graphs were made by the same lines: a file may be loaded twice, a function called twice."""
    if registry.spec != other.spec:
        return False
    return _codes(registry.nodes) == _codes(other.nodes) and _codes(registry.routers) == _codes(other.routers)


def _codes(functions: Mapping[Any, Any]) -> dict[Any, CodeType | type]:
    return {key: getattr(each.function, "__code__", type(each.function)) for key, each in functions.items()}
