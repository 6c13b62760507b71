"""Tests of `get_graph`: graphs as Mermaid text, nodes and edges as LangGraph draws them."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from stepgraph.errors import UnsupportedError
from tests.core.graphs import build, graph


class State(TypedDict, total=False):
    x: int


def node(state: State) -> None: ...


def arrows(builder: StateGraph) -> list[str]:
    """Return the edges of a graph's drawing."""
    text = builder.compile(name="g").get_graph().draw_mermaid(with_styles=False)
    return [line.strip(" \t;") for line in text.splitlines()[1:]]


def test_a_graph_is_drawn_as_langgraph_draws_it() -> None:
    """Nodes are listed in the order in which they were added, edges by name; start and end are rounded."""
    text = graph(State, "START > gather, gather > report, report > END", report=node, gather=node)
    assert text.get_graph().draw_mermaid() == (
        "---\nconfig:\n  flowchart:\n    curve: linear\n---\n"
        "graph TD;\n"
        "\t__start__([<p>__start__</p>]):::first\n"
        "\treport(report)\n"
        "\tgather(gather)\n"
        "\t__end__([<p>__end__</p>]):::last\n"
        "\t__start__ --> gather;\n"
        "\tgather --> report;\n"
        "\treport --> __end__;\n"
        "\tclassDef default fill:#f2f0ff,line-height:1.2\n"
        "\tclassDef first fill-opacity:0\n"
        "\tclassDef last fill:#bfb6fc\n"
    )


def test_a_join_is_drawn_from_each_of_its_sources() -> None:
    """A join looks like an edge from each source."""
    builder = build(State, "START > a, START > b, a+b > c, c > END", dict.fromkeys("abc", node))
    assert arrows(builder) == ["__start__ --> a", "__start__ --> b", "a --> c", "b --> c", "c --> __end__"]


def test_a_conditional_edge_is_dotted_and_labelled_by_its_mapping() -> None:
    """A label equal to the node's name is left out, and a router without destinations has no edge."""
    builder = build(State, "", dict.fromkeys("abc", node))
    builder.add_conditional_edges(START, lambda state: True, {True: "a", "b": "b", "go on": END})
    builder.add_conditional_edges("a", lambda state: "b", ["b", "c"])
    builder.add_conditional_edges("c", lambda state: END)
    assert arrows(builder) == [
        "__start__ -. &nbsp;go on&nbsp; .-> __end__",
        "__start__ -. &nbsp;True&nbsp; .-> a",
        "__start__ -.-> b",
        "a -.-> b",
        "a -.-> c",
        "b --> __end__",
        "c --> __end__",
    ]


def test_nodes_tell_their_metadata_and_breakpoints() -> None:
    """Texts and numbers of a node's metadata stand below its name, as do ``defer`` and breakpoints."""
    builder = StateGraph(State).add_node("a", node, metadata={"owner": "<ann>", "object": {}}, defer=True)
    builder.add_edge(START, "a").add_edge("a", END)
    drawing = builder.compile(name="g", interrupt_after="a").get_graph()
    assert "\ta(a<hr/><small><em>owner = #60;ann#62;\ndefer = True\n__interrupt = after</em></small>)\n" in (
        drawing.draw_mermaid()
    )


def test_unusual_names_get_distinct_ids_and_are_labelled_unchanged() -> None:
    """Spaces, signs and other alphabets in names give distinct ASCII ids."""
    names = ["end", "a b", "a_20_b", "a-b", "é", "日本", 'say "hi"', "x" * 200]
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, node).add_edge(START, name).add_edge(name, END)
    lines = builder.compile(name="g").get_graph().draw_mermaid().splitlines()
    boxes = [line.strip().split("(", 1) for line in lines if line.endswith(")") and line.startswith("\t")]
    assert len({box[0] for box in boxes}) == len(names)
    assert all(box[0].isascii() for box in boxes)
    assert [box[1] for box in boxes] == [f"{name})" for name in names]


def test_configuration_and_styles_can_be_changed() -> None:
    """The arguments are LangGraph's."""
    drawing = graph(State, "START > a, a > END", a=node).get_graph()
    text = drawing.draw_mermaid(
        curve_style="basis", node_colors={"first": "fill:#fff"}, frontmatter_config={"config": {"theme": "neutral"}}
    )
    assert '"theme": "neutral"' in text
    assert '"curve": "basis"' in text
    assert "\tclassDef first fill:#fff\n" in text


def test_a_drawing_is_data_too() -> None:
    """Nodes and edges have LangChain's fields."""
    drawing = graph(State, "START > a, a > END", a=node).get_graph()
    assert list(drawing.nodes) == [START, "a", END]
    assert [tuple(edge) for edge in drawing.edges] == [(START, "a", None, False), ("a", END, None, False)]
    assert drawing.to_json()["edges"] == [{"source": START, "target": "a"}, {"source": "a", "target": END}]


def test_pictures_are_langchains(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawing becomes LangChain's ``Graph``; without LangChain, the error says what to install."""
    drawing = graph(State, "START > a, a > END", a=node).get_graph()
    langchain: Any = drawing._langchain_graph("draw_ascii")
    assert langchain.draw_mermaid() == drawing.draw_mermaid()
    monkeypatch.setitem(sys.modules, "langchain_core.runnables.graph", None)
    with pytest.raises(UnsupportedError, match=r"no draw_mermaid_png without langchain-core\. .*pip install"):
        drawing.draw_mermaid_png()
