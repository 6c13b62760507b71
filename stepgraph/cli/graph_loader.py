"""Loads graphs by address: ``module:variable`` or ``path/to/file.py:variable``.

Without a variable, an address means all graphs of the module.

A graph of LangGraph's is adopted by itself.

Owns the import of the user's code, and the message for each way in which that fails. Knows nothing of what is done with
a graph.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from stepgraph.cli.adopted_graphs import adopted_graph, adopted_graphs, made_by
from stepgraph.errors import UnknownGraphError, suggest
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.serde.error_text import one_line, type_name

FORMS = "Name a graph as MODULE:VARIABLE or path/to/file.py:VARIABLE."
LIBRARY = Path(__file__).parents[1]
"""The folder of this package."""


def is_address(text: str) -> bool:
    """Return whether a text is the address of a graph's code rather than a graph's name."""
    return ":" in text or text.endswith(".py") or "/" in text


def load_graphs(addresses: Iterable[str]) -> list[CompiledGraph]:
    """Return the graphs at the addresses, each once.

    Args:
        addresses: each may be several, separated by commas.

    Raises:
        UnknownGraphError: there is no graph at an address, or two graphs have the same name.
    """
    graphs: dict[str, CompiledGraph] = {}
    for address in (part.strip() for listed in addresses for part in listed.split(",")):
        if not address:
            continue
        for graph in _graphs_at(address).values():
            if graphs.setdefault(graph.name, graph) is not graph:
                raise UnknownGraphError(
                    f"{address!r} brings a second graph named {graph.name!r}. Give each a name of its own.",
                    graph=graph.name,
                )
    return list(graphs.values())


def load_graph(address: str) -> CompiledGraph:
    """Return the one graph at an address. Raises `UnknownGraphError` if there is none, or several."""
    graphs = _graphs_at(address)
    if len(set(graphs.values())) > 1:
        raise UnknownGraphError(
            f"{address!r} has several graphs: {', '.join(map(repr, graphs))}. Name one: {address.rstrip(':')}:VARIABLE."
        )
    return next(iter(graphs.values()))


def _graphs_at(address: str) -> dict[str, CompiledGraph]:
    """Return the graphs at an address by the variables that hold them. There is at least one."""
    place, variable = _split_address(address)
    with _loading_errors(place, address):
        module = _load_module(place)
        variables = dict(getattr(module, "__dict__", {}))
        if variable and variable not in variables and hasattr(module, variable):
            variables[variable] = getattr(module, variable)
    graphs = {name: value for name, value in variables.items() if isinstance(value, CompiledGraph)}
    if not variable:
        graphs = graphs or adopted_graphs(module, variables, place)
        if not graphs:
            raise UnknownGraphError(f"{place!r} has no compiled graph. Assign what compile() returns to a variable.")
        return graphs
    if variable in graphs:
        return {variable: graphs[variable]}
    if variable not in variables:
        raise UnknownGraphError(f"{place!r} has no variable {variable!r}.{suggest(variable, graphs)}")
    value = variables[variable]
    with _loading_errors(place, address):
        made = made_by(value)
    if isinstance(made, CompiledGraph):
        return {variable: made}
    adopted = adopted_graph(module, value, made)
    if adopted is not None:
        return {variable: adopted}
    if hasattr(type(value), "compile"):
        raise UnknownGraphError(f"{address!r} is a graph that is not compiled. Assign what its compile() returns.")
    raise UnknownGraphError(
        f"{address!r} is of type {type_name(value)}, and no compiled graph.{suggest(variable, graphs)}"
    )


def _split_address(address: str) -> tuple[str, str]:
    """Return the module or path, and the variable; empty if the address names no variable."""
    place, _, variable = address.rpartition(":") if ":" in address else (address, "", "")
    if not place:
        raise UnknownGraphError(f"{address!r} names no module. {FORMS}")
    return place, variable


def _load_module(place: str) -> ModuleType:
    """Import a module, or loads a file as one. ``place``: the module's name, or the file's path."""
    folder = _working_folder()
    if folder is not None and folder not in sys.path:
        sys.path.insert(0, folder)  # a console script does not have the working directory on its path
    if place.endswith(".py") or "/" in place:
        return _load_file(Path(place))
    return importlib.import_module(place)


@contextmanager
def _loading_errors(place: str, address: str) -> Iterator[None]:
    """Turn whatever the user's code raises while it is loaded into an `UnknownGraphError` that says where.

    Ctrl-C stays what it is: somebody may interrupt an import that takes long.
    """
    try:
        yield
    except (UnknownGraphError, KeyboardInterrupt):
        raise
    except SystemExit as error:
        status = error.code if isinstance(error.code, int | str | None) else type_name(error.code)
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: it ends the process (exit status {status!r}) when it is imported. "
            'Put what a script does under: if __name__ == "__main__":'
        ) from error
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place == missing or place.startswith(f"{missing}."):
            looked_in = _working_folder() or "no folder, as the working directory was deleted,"
            raise UnknownGraphError(
                f"There is no module {place!r} (looked in {looked_in} and the installed packages). {FORMS}"
            ) from error
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: it imports {missing!r}, which is not installed ({_place(error)})."
        ) from error
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno is not None else ""
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: {error.msg} ({error.filename or place}{line})."
        ) from error
    except BaseException as error:  # a user's class may derive from BaseException itself
        raise UnknownGraphError(
            f"{address!r} cannot be loaded: {type(error).__name__}: {one_line(error)} ({_place(error)})."
        ) from error


def _working_folder() -> str | None:
    """Return the working directory; None if it was deleted."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def _place(error: BaseException) -> str:
    """Return the place in the user's code that led to an error.

    stepgraph's own frames are left out: a graph that is refused raises the error there.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and not Path(frame.filename).is_relative_to(LIBRARY)
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "at its import"


def _load_file(path: Path) -> ModuleType:
    """Load a file as a module, unless it has been imported already."""
    if path.is_dir():
        raise UnknownGraphError(f"{str(path)!r} is a folder. {FORMS}")
    if not path.is_file():
        raise UnknownGraphError(f"There is no file {str(path)!r}. {FORMS}")
    path = path.resolve()
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == str(path):
            return module
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file of the folder must not replace a package of that name
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownGraphError(f"{str(path)!r} is no Python file. {FORMS}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _module_name(path: Path) -> str:
    """Return the module name for a file: the file's own, with a hash of its path if another module has that name.

    A user's ``json.py`` must not become the ``json`` that every other module imports.
    """
    try:
        is_taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
        spec = None if is_taken or "." in path.stem else importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        spec = None
    if not is_taken and (spec is None or spec.origin == str(path)):
        return path.stem
    return f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
