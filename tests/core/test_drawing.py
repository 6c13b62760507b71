"""Tests of `draw_mermaid`: graphs as Mermaid text."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from tests.core.graphs import build, graph


class State(TypedDict, total=False):
    x: int


def node(state: State) -> None: ...


def mermaid_lines(builder: StateGraph) -> list[str]:
    """Return the lines of the graph's drawing, without their indentation."""
    return [line.strip() for line in builder.compile(name="g").get_graph().draw_mermaid().splitlines()]


def test_a_plain_graph_is_drawn_with_solid_edges() -> None:
    """Nodes are labelled boxes, edges are in the order in which they were added, START and END are rounded boxes."""
    text = graph(State, "START > gather, gather > report, report > END", report=node, gather=node)
    assert text.get_graph().draw_mermaid() == (
        "flowchart TD\n"
        "    n___start__([start])\n"
        '    n_gather["gather"]\n'
        '    n_report["report"]\n'
        "    n___end__([end])\n"
        "    n___start__ --> n_gather\n"
        "    n_gather --> n_report\n"
        "    n_report --> n___end__\n"
    )


def test_a_join_is_drawn_from_each_of_its_sources() -> None:
    """Each edge of a join has the label ``all``."""
    lines = mermaid_lines(build(State, "START > a, START > b, a+b > c, c > END", dict.fromkeys("abc", node)))
    assert [line for line in lines if "all" in line] == ["n_a -- all --> n_c", "n_b -- all --> n_c"]


def test_a_conditional_edge_is_dotted_and_labelled_by_its_mapping() -> None:
    """A label equal to the node's name is left out. A router without destinations has an edge to every node."""
    builder = build(State, "a > END, b > END", dict.fromkeys("abc", node))
    builder.add_conditional_edges(START, lambda state: True, {True: "a", "b": "b", 'say "<no>" & go\non': END})
    builder.add_conditional_edges("a", lambda state: "b", ["b", "c"])
    builder.add_conditional_edges("c", lambda state: END)
    assert [line for line in mermaid_lines(builder) if "-.->" in line] == [
        'n___start__ -.->|"True"| n_a',
        "n___start__ -.-> n_b",
        'n___start__ -.->|"say &quot;&lt;no>&quot; &amp; go on"| n___end__',
        "n_a -.-> n_b",
        "n_a -.-> n_c",
        "n_c -.-> n_a",
        "n_c -.-> n_b",
        "n_c -.-> n_c",
        "n_c -.-> n___end__",
    ]


def test_unusual_names_get_distinct_ids_and_are_labelled_unchanged() -> None:
    """Reserved words, spaces, signs and other alphabets in names give distinct ASCII ids."""
    names = ["end", "a b", "a_20_b", "a-b", "_20_", "é", "日本", 'say "hi"', "x" * 200]
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, node).add_edge(START, name).add_edge(name, END)
    boxes = [line.split("[", 1) for line in mermaid_lines(builder) if '["' in line]
    ids: list[Any] = [box[0] for box in boxes]
    assert len(set(ids)) == len(names)
    assert all(id.isascii() and id.replace("_", "").isalnum() for id in ids)
    assert {box[1] for box in boxes} == {f'"{name}"]'.replace('"hi"', "&quot;hi&quot;") for name in names}
