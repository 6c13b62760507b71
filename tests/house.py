"""The rooms of the project, and the arrows between them, measured with grimp from the code's own imports.

``python -m tests.house`` prints the figures. A room is a package directly below ``stepgraph``, a module beside those
packages, ``stepgraph_workflows``, ``stepgraph_activities``, or ``benchmarks``. An arrow is an import from one room to
another, imports for type checking included. A room's floor is one above the highest room that it imports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import grimp

PACKAGES = ("stepgraph", "stepgraph_workflows", "stepgraph_activities", "benchmarks")


@cache
def import_graph() -> grimp.ImportGraph:
    """The imports between all modules of the project."""
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def room_of(module: str) -> str:
    """The room that a module is in. ``python -m stepgraph`` is the command line by another name."""
    parts = module.replace("stepgraph.__main__", "stepgraph.cli.__main__").split(".")
    return ".".join(parts[:2]) if parts[0] == "stepgraph" else parts[0]


def imports() -> Iterator[tuple[str, str]]:
    """Each import as (importing module, imported module)."""
    graph = import_graph()
    for importer in sorted(graph.modules):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            yield importer, imported


def arrows() -> Mapping[str, set[str]]:
    """For each room, the rooms that it imports."""
    found: dict[str, set[str]] = {room_of(module): set() for module in import_graph().modules}
    for importer, imported in imports():
        if room_of(importer) != room_of(imported):
            found[room_of(importer)].add(room_of(imported))
    return found


def floors() -> Mapping[str, int]:
    """For each room, its floor; 1 is the ground. `RecursionError` if rooms import each other in a circle."""
    below = arrows()

    def floor(room: str) -> int:
        return 1 + max((floor(other) for other in below[room]), default=0)

    return {room: floor(room) for room in below}


def circles() -> list[list[str]]:
    """Modules that import each other in a circle, directly or through others."""
    graph = import_graph()
    found = []
    for module in sorted(graph.modules):
        circle = sorted(
            other
            for other in graph.find_upstream_modules(module)
            if other == module or module in graph.find_upstream_modules(other)
        )
        if circle:
            found.append(circle)
    return found


def main() -> None:
    """Print the figures."""
    below, height = arrows(), floors()
    print(f"{len(below)} rooms on {max(height.values())} floors, {sum(map(len, below.values()))} arrows")
    for floor in range(max(height.values()), 0, -1):
        print(f"{floor:>3}  {', '.join(sorted(room for room in below if height[room] == floor))}")


if __name__ == "__main__":
    main()
