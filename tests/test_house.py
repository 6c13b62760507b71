"""The layout of the project: few rooms with doors, imports that point downward, files that one can read."""

from __future__ import annotations

import ast
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

from tests.house import arrows, circles, floors, import_graph, imports, room_of

ROOT = Path(__file__).parent.parent

MOST_ROOMS = 20
MOST_FLOORS = 10
MOST_LINES = 350


def exports(module: str) -> bool:
    """Whether a package has an ``__all__``."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).name == "__init__.py" and "__all__ =" in Path(spec.origin).read_text()


def test_there_are_few_rooms_on_few_floors() -> None:
    """A newcomer can keep the whole layout in mind. The benchmarks stand on top of it, and are a house of their own."""
    assert len(arrows()) <= MOST_ROOMS
    assert max(floor for room, floor in floors().items() if room != "benchmarks") <= MOST_FLOORS


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for type checking count, too."""
    assert circles() == []


def test_a_room_is_entered_by_its_door() -> None:
    """Others import a package that exports names by these alone, and never a private module of another package."""
    packages = (module for module in import_graph().modules if room_of(module) not in ("stepgraph", "benchmarks"))
    with_door = {module for module in packages if exports(module)}
    trespasses = []
    for importer, imported in imports():
        package, _, name = imported.rpartition(".")
        inside = importer == package or importer.startswith(f"{package}.")
        if not inside and (name.startswith("_") or package in with_door):
            trespasses.append(f"{importer} -> {imported}")
    assert trespasses == []


def test_no_two_modules_have_one_name() -> None:
    """A traceback or a search that names a file leaves no doubt which one."""
    names = Counter(
        module.rpartition(".")[2]
        for module in import_graph().modules
        if room_of(module) != "benchmarks" and "." in module
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_a_file_is_short_enough_to_be_read() -> None:
    """At most 350 lines."""
    folders = ("stepgraph", "workflows", "activities")
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}


def test_every_package_says_what_it_owns() -> None:
    """The docstring of a package is the sign on its door."""
    packages = [
        path for folder in ("stepgraph", "workflows", "activities") for path in (ROOT / folder).rglob("__init__.py")
    ]
    assert [str(path) for path in packages if not ast.get_docstring(ast.parse(path.read_text()))] == []
