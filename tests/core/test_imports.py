"""Tests of what importing and using stepgraph loads: Temporal is not imported until a graph runs on it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import stepgraph

SCRIPTS = {
    "importing": "import stepgraph",
    "drawing a graph": """
from typing_extensions import TypedDict
from stepgraph import END, START, RetryPolicy, StateGraph, StateSnapshot
class State(TypedDict):
    x: int
builder = StateGraph(State).add_node("n", lambda state: None, retry_policy=RetryPolicy())
graph = builder.add_edge(START, "n").add_edge("n", END).compile(name="g")
assert "n(n)" in graph.get_graph().draw_mermaid()
""",
    "testing a graph": """
from typing_extensions import TypedDict
from stepgraph import END, START, StateGraph
from stepgraph.testing import MemoryRunner
class State(TypedDict):
    x: int
builder = StateGraph(State).add_node("n", lambda state: {"x": 2}).add_edge(START, "n").add_edge("n", END)
graph = builder.compile(name="g")
assert MemoryRunner(graph).invoke({"x": 1}, {"configurable": {"thread_id": 1}}) == {"x": 2}
""",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_temporal_is_not_imported_without_a_run(script: str) -> None:
    """Importing, drawing and testing a graph loads no module that only a server or a terminal needs."""
    check = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{script}\n{check}"], capture_output=True, check=True, text=True
    ).stdout.split()
    assert "stepgraph" in loaded
    assert not {"temporalio", "typer", "rich", "structlog", "stepgraph_workflows"} & set(loaded)


@pytest.mark.parametrize("name", stepgraph.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    """Every name in `__all__` is an attribute of the package and is listed by `dir`."""
    assert getattr(stepgraph, name) is not None
    assert name in dir(stepgraph)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The package loads its names lazily, but reports an unknown name as any module does."""
    with pytest.raises(AttributeError, match="module 'stepgraph' has no attribute 'StateGrap'"):
        _ = stepgraph.StateGrap  # type: ignore[attr-defined]
