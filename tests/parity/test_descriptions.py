"""What a compiled graph says of itself is LangGraph's: the Mermaid text, the JSON schemas."""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

import stepgraph
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, Library


class State(TypedDict, total=False):
    question: str
    log: Annotated[list[str], add]


@dataclass
class Record:
    name: str
    lines: Annotated[list[str], add] = field(default_factory=list)
    note: str | None = None
    size: int = 3


class Model(BaseModel):
    name: str
    size: int = 3
    log: Annotated[list[str], add] = []


def node(state: Any) -> None: ...


def random_graph(lib: Library, seed: int) -> Any:
    """Return a graph of plain, joined and conditional edges, commands, metadata and breakpoints."""
    rng = random.Random(seed)
    builder = lib.StateGraph(State)
    names = rng.sample(["a", "b", "_c_", "d e", "zz"], rng.randint(1, 5))
    for name in names:
        options: dict[str, Any] = {}
        if rng.random() < 0.2:
            options["destinations"] = {rng.choice(names): "go on"} if rng.random() < 0.5 else (lib.END,)
        if rng.random() < 0.2:
            options["metadata"] = {"owner": "<ann>", "sizes": [1, 2]}
        builder.add_node(name, node, **options)
    builder.add_edge(lib.START, names[0])
    for _ in range(rng.randint(0, 7)):
        kind, source, target = rng.random(), rng.choice([*names, lib.START]), rng.choice([*names, lib.END])
        if kind < 0.45:
            builder.add_edge(source, target)
        elif kind < 0.6 and len(names) > 1:
            builder.add_edge(rng.sample(names, 2), rng.choice(names))
        elif kind < 0.8:
            mapping = {label: rng.choice([*names, lib.END]) for label in ("yes", "no")}
            builder.add_conditional_edges(source, lambda state: "yes", mapping)
        else:
            builder.add_conditional_edges(source, lambda state: names[0])
    breaks = {"interrupt_before": [names[0]]} if rng.random() < 0.3 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nodes that nothing leads to
        return builder.compile(name="g", **breaks)


def test_random_graphs_are_drawn_alike() -> None:
    """The Mermaid texts of graphs are equal, wherever LangGraph compiles and draws them."""
    compared = 0
    for seed in range(300):
        try:
            theirs = random_graph(LANGGRAPH, seed).get_graph().draw_mermaid()
        except (ValueError, TypeError):  # a router twice, or labels that cannot be sorted
            continue
        assert random_graph(STEPGRAPH, seed).get_graph().draw_mermaid() == theirs, seed
        compared += 1
    assert compared > 150


@pytest.mark.parametrize("declared", [State, Record, Model, Annotated[list, add], Annotated[str, add]], ids=str)
@pytest.mark.parametrize("name", ["chat", "Chat"])
def test_json_schemas_are_langgraphs(declared: Any, name: str) -> None:
    """Those of input and output, with LangGraph's names."""
    ours, theirs = (
        lib.StateGraph(declared).add_node("n", node).add_edge(lib.START, "n").compile(name=name)
        for lib in (STEPGRAPH, LANGGRAPH)
    )
    assert ours.get_input_jsonschema() == theirs.get_input_jsonschema()
    assert ours.get_output_jsonschema() == theirs.get_output_jsonschema()
    assert ours.get_name("input") == theirs.get_name("input")


@pytest.mark.parametrize("context", [Record, Model, State, None], ids=str)
def test_the_json_schema_of_a_context_is_langgraphs(context: Any) -> None:
    """`None` for a graph without one."""
    ours, theirs = (
        lib.StateGraph(State, context).add_node("n", node).add_edge(lib.START, "n").compile(name="g")
        for lib in (STEPGRAPH, LANGGRAPH)
    )
    assert ours.get_context_jsonschema() == theirs.get_context_jsonschema()


def test_an_adopted_graph_describes_itself_as_before() -> None:
    """Its drawing, and the JSON schemas of what it takes and returns."""
    graph = LANGGRAPH.StateGraph(State, Model, input_schema=Record).add_node("n", node).add_node("m", node)
    graph = graph.add_edge(LANGGRAPH.START, "n").add_conditional_edges("n", lambda state: "m", ["m", LANGGRAPH.END])
    theirs = graph.compile(name="g")
    ours = stepgraph.adopt(theirs)
    assert ours.get_graph().draw_mermaid() == theirs.get_graph().draw_mermaid()
    assert ours.get_input_jsonschema() == theirs.get_input_jsonschema()
    assert ours.get_output_jsonschema() == theirs.get_output_jsonschema()
    assert ours.get_context_jsonschema() == theirs.get_context_jsonschema()
