"""Graphs are loaded by their addresses, and the error of a wrong address has the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepgraph.cli.graph_loader import load_graph, load_graphs
from stepgraph.errors import UnknownGraphError

GRAPH = """
from typing import TypedDict

from stepgraph import END, START, StateGraph


class State(TypedDict):
    n: int


builder = StateGraph(State)
builder.add_node("only", lambda state: None)
builder.add_edge(START, "only")
builder.add_edge("only", END)
"""
ONE = f'{GRAPH}\ngraph = builder.compile(name="one")\nnumber = 3\n'
TWO = f'{GRAPH}\na = builder.compile(name="two-a")\nb = builder.compile(name="two-b")\nagain = a\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with graph files; modules loaded from there are removed afterwards."""
    (tmp_path / "one.py").write_text(ONE)
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "three.py").write_text(GRAPH + "\nfrom parts import NAME\ngraph = builder.compile(name=NAME)")
    (tmp_path / "inner" / "parts.py").write_text('NAME = "three"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def names(*addresses: str) -> list[str]:
    """Return the names of the graphs at the addresses."""
    return [graph.name for graph in load_graphs(addresses)]


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (["one:graph"], ["one"]),
        (["one"], ["one"]),
        (["one:"], ["one"]),
        (["one.py"], ["one"]),
        (["one.py:graph"], ["one"]),
        (["./one.py:graph"], ["one"]),
        (["inner/three.py:graph"], ["three"]),
        (["two"], ["two-a", "two-b"]),
        (["two:b"], ["two-b"]),
        (["two:b", "one:graph"], ["two-b", "one"]),
        (["two:b, one:graph ,"], ["two-b", "one"]),
        (["two:a", "two:again", "two"], ["two-a", "two-b"]),
        ([""], []),
        ([], []),
    ],
)
def test_an_address_names_graphs(addresses: list[str], expected: list[str]) -> None:
    """An address is a module or a file, with or without a variable. A graph of several addresses is loaded once."""
    assert names(*addresses) == expected


def test_an_absolute_path_names_a_graph(folder: Path) -> None:
    """An absolute path does not depend on the working directory."""
    assert names(f"{folder / 'inner' / 'three.py'}:graph") == ["three"]


def test_a_module_and_its_file_have_the_same_graph() -> None:
    """A file that has been imported already is not loaded a second time."""
    assert names("one:graph", "one.py:graph") == ["one"]


def test_a_file_may_be_named_like_a_module_that_is_loaded(folder: Path) -> None:
    """A file ``json.py`` gets another name in `sys.modules`, where the module ``json`` stays."""
    import json

    (folder / "json.py").write_text(ONE)
    assert names("json.py:graph") == ["one"]
    assert sys.modules["json"] is json


def test_two_files_of_one_name_are_two_modules(folder: Path) -> None:
    """Two files of one name are loaded from their own folders."""
    (folder / "inner" / "one.py").write_text(ONE.replace('"one"', '"inner-one"'))
    assert names("one.py", "inner/one.py") == ["one", "inner-one"]


def test_load_graph_returns_one_graph() -> None:
    """`load_graph` takes an address with a variable, or of a module with one graph."""
    assert load_graph("one").name == "one"
    assert load_graph("two:a").name == "two-a"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nosuch", r"There is no module 'nosuch' \(looked in .*\)\. Name a graph as MODULE:VARIABLE or"),
        ("nosuch:graph", r"There is no module 'nosuch'"),
        ("one.nosuch:graph", r"There is no module 'one\.nosuch'"),
        ("nosuch.py:graph", r"There is no file 'nosuch\.py'\. Name a graph as"),
        ("inner/:graph", r"'inner' is a folder\. Name a graph as"),
        (":graph", r"':graph' names no module\. Name a graph as"),
        ("one:nosuch", r"'one' has no variable 'nosuch'\. Known: 'graph'"),
        ("one:grap", r"Did you mean 'graph'\?"),
        ("one:number", r"'one:number' is of type int, and no compiled graph"),
        ("one:builder", r"'one:builder' is a graph that is not compiled\. Assign what its compile\(\) returns"),
        ("inner/parts.py", r"'inner/parts\.py' has no compiled graph\. Assign what compile\(\) returns to a variable"),
    ],
)
def test_the_error_of_a_wrong_address_has_the_reason(address: str, message: str) -> None:
    """The error names the part of the address that is wrong, and how to name a graph."""
    with pytest.raises(UnknownGraphError, match=message):
        load_graphs([address])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import not_there", r"it imports 'not_there', which is not installed \(.*broken\.py, line 1\)"),
        ("\nraise ValueError('one\\ntwo')", r"cannot be loaded: ValueError: one two \(.*broken\.py, line 2\)"),
        ("x = (", r"cannot be loaded: '\(' was never closed \(.*broken\.py, line 1\)"),
        ("import sys\nsys.exit(0)", r"it ends the process \(exit status 0\) when it is imported\. Put what a script"),
        ("import sys\nsys.exit(object())", r"it ends the process \(exit status 'object'\)"),
        ("class E(BaseException): ...\nraise E('no')", r"cannot be loaded: E: no \(.*broken\.py, line 2\)"),
        ("import asyncio\nraise asyncio.CancelledError", r"cannot be loaded: CancelledError: .*broken\.py, line 2\)"),
        ("raise GeneratorExit", r"cannot be loaded: GeneratorExit: .*broken\.py, line 1\)"),
        (
            "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E",
            r"E: \(its message is unknown: str\(\) raised ZeroDivisionError\) \(.*broken\.py, line 3\)",
        ),
        ("x = 1\0", r"cannot be loaded: source code string cannot contain null bytes \(broken"),
        (
            "def __getattr__(name):\n    raise RuntimeError('lazy')",
            r"cannot be loaded: RuntimeError: lazy \(.*broken\.py, line 2\)",
        ),
        (
            GRAPH.replace('START, "only"', 'START, "onlx"') + "builder.compile(name='broken')",
            r"GraphDefinitionError: .*'onlx'.* \(.*broken\.py, line 15\)",
        ),
    ],
    ids=[
        "import",
        "raise",
        "syntax",
        "exit",
        "odd exit",
        "base",
        "cancelled",
        "generator",
        "str",
        "nul",
        "lazy",
        "graph",
    ],
)
@pytest.mark.parametrize("address", ["broken:graph", "broken.py:graph"])
def test_the_error_of_a_module_that_cannot_be_loaded_has_the_line(
    folder: Path, address: str, text: str, message: str
) -> None:
    """The error has a line of the user's own code. The module is not kept, so it can be fixed and loaded again."""
    (folder / "broken.py").write_text(text)
    with pytest.raises(UnknownGraphError, match=message):
        load_graphs([address])
    assert "broken" not in sys.modules or "__getattr__" in text  # that one was loaded, but has no such variable


def test_two_graphs_of_one_name_are_refused(folder: Path) -> None:
    """The error of two graphs of one name has the address of the second."""
    (folder / "other.py").write_text(ONE)
    with pytest.raises(UnknownGraphError, match="'other:graph' brings a second graph named 'one'. Give each a name"):
        load_graphs(["one:graph", "other:graph"])


def test_load_graph_refuses_an_address_of_several_graphs() -> None:
    """The error of an address of several graphs has the variables to choose from."""
    with pytest.raises(UnknownGraphError, match="'two' has several graphs: 'a', 'b', 'again'. Name one: two:VARIABLE"):
        load_graph("two")
