"""Tests of `compile`: the name of a graph without one, and LangGraph's options; and of what a compiled graph offers."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.errors import GraphDefinitionError, UnsupportedError
from stepgraph.testing import MemoryRunner

BUILDER = """
from typing import Any, TypedDict
from stepgraph import END, START, StateGraph

class State(TypedDict, total=False):
    x: int

def builder(key: int = 1) -> Any:
    return StateGraph(State).add_node("n", lambda state: {"x": key}).add_edge(START, "n").add_edge("n", END)
"""


class State(TypedDict, total=False):
    x: int
    seen: Any


def tell(state: State, config: dict[str, Any]) -> dict[str, Any]:
    return {"seen": [config.get("tags"), config["metadata"].get("user"), config["configurable"].get("model")]}


def builder() -> StateGraph:
    return StateGraph(State).add_node("tell", tell).add_edge(START, "tell").add_edge("tell", END)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command in a folder."""
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("file", "command", "name"),
    [
        ("agent.py", ("agent.py",), "agent"),
        ("agent.py", ("-m", "agent"), "agent"),
        ("01 my agent.v2.py", ("01 my agent.v2.py",), "01_my_agent_v2"),
        ("_private.py", ("_private.py",), "private"),
        ("essay/__init__.py", ("-c", "import essay"), "essay"),
        ("essay/__main__.py", ("-m", "essay"), "essay"),
    ],
)
def test_a_graph_without_a_name_has_that_of_its_file(
    tmp_path: Path, file: str, command: tuple[str, ...], name: str
) -> None:
    """It is the same however the file is run; a package gives the name of its folder."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(BUILDER + "print(builder().compile().name)\n")
    ended = run(tmp_path, *command)
    assert (ended.stdout, ended.stderr) == (f"{name}\n", "")


@pytest.mark.parametrize("code", ["print(builder().compile().name)", "exec('builder().compile()')"])
def test_code_without_a_file_must_name_its_graph(tmp_path: Path, code: str) -> None:
    """The error for what was typed in says what to write."""
    ended = run(tmp_path, "-c", BUILDER + code)
    assert "was typed in has none. Name the graph: compile(name='my-graph')." in ended.stderr


def test_a_notebook_gives_its_name(tmp_path: Path) -> None:
    """Jupyter and VS Code tell a kernel the file of its notebook; without that, the graph must be named."""
    cell = "exec(compile(source, '/tmp/ipykernel_1/2.py', 'exec'), {'get_ipython': None, **globals()})"
    script = f"{BUILDER}\nsource = 'print(builder().compile().name)'\n"
    known = run(
        tmp_path, "-c", f"{script}import os\nos.environ['JPY_SESSION_NAME'] = '/home/ann/My plan.ipynb'\n{cell}"
    )
    assert known.stdout == "My_plan\n"
    assert "Name the graph" in run(tmp_path, "-c", script + cell).stderr


def test_two_graphs_of_a_file_cannot_both_be_named_after_it(tmp_path: Path) -> None:
    """The error names the file, the name and the mend; the same graph may be made again."""
    code = "first = builder().compile()\nagain = builder().compile()\n"
    (tmp_path / "agent.py").write_text(f"{BUILDER}\n{code}")
    assert run(tmp_path, "agent.py").returncode == 0
    (tmp_path / "agent.py").write_text(f"{BUILDER}\n{code}second = builder().add_node('m', print).compile()\n")
    error = run(tmp_path, "agent.py").stderr
    assert "agent.py have no name, and both would be 'agent'. Name one of them: compile(name='my-graph')." in error


def test_a_graph_that_is_gone_leaves_its_name() -> None:
    """Tests make one graph after another in one file."""
    assert builder().compile().name == "test_compile"
    gc.collect()
    assert builder().add_node("b", tell).add_edge("tell", "b").compile().name == "test_compile"


@pytest.mark.parametrize("value", [True, False, None])
def test_a_checkpointer_may_be_a_flag(value: bool | None) -> None:
    """What the flag says is for subgraphs; a graph that is invoked keeps checkpoints in any case."""
    graph = builder().compile(value, name="g")
    assert graph.checkpointer is value
    runner, config = MemoryRunner(graph), {"configurable": {"thread_id": "t"}}
    runner.invoke({"x": 1}, config)
    assert runner.get_state(config).values["x"] == 1


def test_a_saver_is_refused_in_one_sentence() -> None:
    """It says where checkpoints are kept."""

    class InMemorySaver: ...

    with pytest.raises(GraphDefinitionError) as caught:
        builder().compile(checkpointer=InMemorySaver(), name="g")  # type: ignore[arg-type]  # the point
    assert str(caught.value).endswith("stepgraph keeps checkpoints in Temporal's history, so leave checkpointer out.")


def test_options_of_compile_are_langgraphs() -> None:
    """``debug`` and ``cache`` are kept, breakpoints may be `None`, and what is missing names the page."""
    cache = object()
    graph = builder().compile(None, cache=cache, interrupt_before=None, interrupt_after="*", debug=True, name="g")
    assert (graph.debug, graph.cache, graph.registry.cache, graph.store) == (True, cache, cache, None)
    assert graph.registry.spec.interrupt_after == ("*",)
    with pytest.raises(UnsupportedError, match=r"no compile\(transformers=...\).* docs/coming-from-langgraph\.md"):
        builder().compile(name="g", transformers=[print])  # type: ignore[arg-type]  # the point
    with pytest.raises(GraphDefinitionError, match="interrupt_before is a list of names of nodes, or '\\*' for all"):
        builder().compile(name="g", interrupt_before=5)  # type: ignore[arg-type]  # the point


def test_with_config_presets_what_nodes_see() -> None:
    """It returns a copy. A call's own config is added: tags in turn, metadata and ``configurable`` by key."""
    plain = builder().compile(name="g")
    tuned = plain.with_config({"tags": ["a"], "metadata": {"user": "ann"}}, configurable={"model": "small"})
    assert MemoryRunner(tuned).invoke({})["seen"] == [["a"], "ann", "small"]
    own = {"tags": ["b"], "metadata": {"more": 1}, "configurable": {"thread_id": "t", "model": "large"}}
    assert MemoryRunner(tuned).invoke({}, own)["seen"] == [["a", "b"], "ann", "large"]
    assert MemoryRunner(plain).invoke({})["seen"] == [None, None, None]
    longer = builder().add_node("again", tell).add_edge("tell", "again").compile(name="g")
    with pytest.raises(RecursionError):
        MemoryRunner(longer.with_config(recursion_limit=1)).invoke({})


@pytest.mark.parametrize("name", ["stream", "astream", "get_subgraphs", "bind", "get_input_schema", "nodes"])
def test_a_method_that_is_missing_names_the_page(name: str) -> None:
    """`hasattr` works, and the message says where the differences are listed."""
    graph = builder().compile(name="g")
    assert not hasattr(graph, name)
    with pytest.raises(AttributeError, match=rf"stepgraph has no CompiledGraph\.{name}\..* docs/coming-from-langgraph"):
        getattr(graph, name)


def test_an_attribute_that_nobody_has_is_a_plain_error() -> None:
    """The page has nothing to say about it."""
    with pytest.raises(AttributeError, match="^'CompiledGraph' object has no attribute 'strem'$"):
        _ = builder().compile(name="g").strem
