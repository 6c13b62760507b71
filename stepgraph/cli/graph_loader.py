"""Graphs by their address: ``module:variable`` or ``path/to/file.py:variable``; without a variable, all in it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from stepgraph.errors import UnknownGraphError, suggest
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.serde.error_text import type_name

HOW = "Name a graph as MODULE:VARIABLE or path/to/file.py:VARIABLE."
LIBRARY = Path(__file__).parents[1]


def is_address(text: str) -> bool:
    """Whether the text says where a graph's code is, rather than being a graph's name."""
    return ":" in text or text.endswith(".py") or "/" in text


def load_graphs(addresses: Iterable[str]) -> list[CompiledGraph]:
    """The graphs at the addresses, each once. `UnknownGraphError` says what is wrong with an address."""
    found: dict[str, CompiledGraph] = {}
    for address in (part.strip() for given in addresses for part in given.split(",")):
        if not address:
            continue
        for graph in _graphs_at(address).values():
            if found.setdefault(graph.name, graph) is not graph:
                raise UnknownGraphError(
                    f"{address!r} brings a second graph named {graph.name!r}. Give each a name of its own.",
                    graph=graph.name,
                )
    return list(found.values())


def load_graph(address: str) -> CompiledGraph:
    """The one graph at an address."""
    found = _graphs_at(address)
    if len(set(found.values())) > 1:
        raise UnknownGraphError(
            f"{address!r} has several graphs: {', '.join(map(repr, found))}. Name one: {address.rstrip(':')}:VARIABLE."
        )
    return next(iter(found.values()))


def _graphs_at(address: str) -> dict[str, CompiledGraph]:
    """Variable -> graph; at least one."""
    place, variable = _parts(address)
    module = _module(place, address)
    graphs = {name: value for name, value in vars(module).items() if isinstance(value, CompiledGraph)}
    if not variable:
        if not graphs:
            raise UnknownGraphError(f"{place!r} has no compiled graph. Assign what compile() returns to a variable.")
        return graphs
    if variable in graphs:
        return {variable: graphs[variable]}
    if not hasattr(module, variable):
        raise UnknownGraphError(f"{place!r} has no variable {variable!r}.{suggest(variable, graphs)}")
    found = getattr(module, variable)
    if hasattr(found, "compile"):
        raise UnknownGraphError(f"{address!r} is a graph that is not compiled. Assign what its compile() returns.")
    raise UnknownGraphError(
        f"{address!r} is of type {type_name(found)}, and no compiled graph.{suggest(variable, graphs)}"
    )


def _parts(address: str) -> tuple[str, str]:
    place, _, variable = address.rpartition(":") if ":" in address else (address, "", "")
    if not place:
        raise UnknownGraphError(f"{address!r} names no module. {HOW}")
    return place, variable


def _module(place: str, address: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # a console script does not search it by itself
    try:
        if place.endswith(".py") or "/" in place:
            return _from_file(Path(place))
        return importlib.import_module(place)
    except (UnknownGraphError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: it ends the process (exit status {error.code!r}) when it is imported. "
            'Put what a script does under: if __name__ == "__main__":'
        ) from error
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place == missing or place.startswith(f"{missing}."):
            raise UnknownGraphError(
                f"There is no module {place!r} (looked in {folder} and the installed packages). {HOW}"
            ) from error
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: it imports {missing!r}, which is not installed ({_where(error)})."
        ) from error
    except SyntaxError as error:
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: {error.msg} ({error.filename}, line {error.lineno})."
        ) from error
    except Exception as error:
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())} ({_where(error)})."
        ) from error


def _where(error: Exception) -> str:
    """The last place in somebody's own code, for a graph that is refused is refused in ours."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and not Path(frame.filename).is_relative_to(LIBRARY)
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "at its import"


def _from_file(path: Path) -> ModuleType:
    if path.is_dir():
        raise UnknownGraphError(f"{str(path)!r} is a folder. {HOW}")
    if not path.is_file():
        raise UnknownGraphError(f"There is no file {str(path)!r}. {HOW}")
    path = path.resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    beside = str(path.parent)
    if beside not in sys.path:
        sys.path.append(beside)  # last: a file beside it must not stand in for a package of that name
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownGraphError(f"{str(path)!r} is no Python file. {HOW}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_name(path: Path) -> str:
    """The file's own name, unless a module is called so already: nobody's ``json.py`` may become everybody's json."""
    try:
        known = path.stem in sys.modules or path.stem in sys.stdlib_module_names
        found = None if known or "." in path.stem else importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        found = None
    if not known and (found is None or found.origin == str(path)):
        return path.stem
    return f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
