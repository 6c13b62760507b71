"""Graphs by their address: ``module:variable`` or ``path/to/file.py:variable``; without a variable, all in it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from stepgraph.compiled import CompiledGraph
from stepgraph.errors import UnknownGraphError, near_miss


def is_address(text: str) -> bool:
    """Whether the text says where a graph's code is, rather than being a graph's name."""
    return ":" in text or text.endswith(".py") or "/" in text


def load_graphs(addresses: Iterable[str]) -> list[CompiledGraph]:
    """The graphs at the addresses, each once. `UnknownGraphError` says what is wrong with an address."""
    found: dict[str, CompiledGraph] = {}
    for address in (part.strip() for given in addresses for part in given.split(",")):
        if not address:
            continue
        for graph in _load(address):
            if found.setdefault(graph.name, graph) is not graph:
                raise UnknownGraphError(
                    f"{address!r} is a second graph named {graph.name!r}. Give each a name of its own.",
                    graph=graph.name,
                )
    return list(found.values())


def _load(address: str) -> list[CompiledGraph]:
    place, _, variable = address.rpartition(":") if ":" in address else (address, "", "")
    module = _module(place, address)
    graphs = {name: value for name, value in vars(module).items() if isinstance(value, CompiledGraph)}
    if not variable:
        if not graphs:
            raise UnknownGraphError(f"{place!r} has no compiled graph. Assign what compile() returns to a variable.")
        return list(dict.fromkeys(graphs.values()))
    if variable in graphs:
        return [graphs[variable]]
    if hasattr(module, variable):
        raise UnknownGraphError(
            f"{address!r} is a {type(getattr(module, variable)).__name__}, not a compiled graph."
            f"{near_miss(variable, graphs)}"
        )
    raise UnknownGraphError(f"{place!r} has no variable {variable!r}.{near_miss(variable, graphs)}")


def _module(place: str, address: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # a console script does not search it by itself
    try:
        if place.endswith(".py") or "/" in place:
            return _from_file(Path(place))
        return importlib.import_module(place)
    except UnknownGraphError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place == missing or place.startswith(f"{missing}."):
            raise UnknownGraphError(
                f"There is no module {place!r} (looked in {folder} and the installed packages). "
                "Name a graph as module:variable or path/to/file.py:variable."
            ) from error
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: it imports {missing!r}, which is not installed."
        ) from error
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: {type(error).__name__}: {error} ({frame.filename}, line {frame.lineno})."
        ) from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownGraphError(f"There is no file {str(path)!r}.")
    path = path.resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module
