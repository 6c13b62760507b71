"""Drawings of graphs as Mermaid text."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from stepgraph import END, START, StateGraph
from tests.core.graphs import draw, graph


class State(TypedDict, total=False):
    x: int


def node(state: State) -> None: ...


def drawn(builder: StateGraph) -> list[str]:
    return [line.strip() for line in builder.compile(name="g").get_graph().draw_mermaid().splitlines()]


def test_a_plain_graph_is_drawn_with_solid_edges() -> None:
    """Nodes by name, edges as they were added, start and end as rounded boxes."""
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
    """Labelled, for it waits for all of them."""
    lines = drawn(draw(State, "START > a, START > b, a+b > c, c > END", dict.fromkeys("abc", node)))
    assert [line for line in lines if "all" in line] == ["n_a -- all --> n_c", "n_b -- all --> n_c"]


def test_a_conditional_edge_is_dotted_and_labelled_where_a_mapping_renames() -> None:
    """A label that is the node's own name says nothing new; without destinations it may lead anywhere."""
    builder = draw(State, "a > END, b > END", dict.fromkeys("abc", node))
    builder.add_conditional_edges(START, lambda state: True, {True: "a", "b": "b", 'say "<no>" & go\non': END})
    builder.add_conditional_edges("a", lambda state: "b", ["b", "c"])
    builder.add_conditional_edges("c", lambda state: END)
    assert [line for line in drawn(builder) if "-.->" in line] == [
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


def test_odd_names_are_told_apart_and_shown_as_they_are() -> None:
    """Mermaid's own words, spaces, signs and other alphabets; no two nodes share an id."""
    names = ["end", "a b", "a_20_b", "a-b", "_20_", "é", "日本", 'say "hi"', "x" * 200]
    builder = StateGraph(State)
    for name in names:
        builder.add_node(name, node).add_edge(START, name).add_edge(name, END)
    boxes = [line.split("[", 1) for line in drawn(builder) if '["' in line]
    ids: list[Any] = [box[0] for box in boxes]
    assert len(set(ids)) == len(names)
    assert all(id.isascii() and id.replace("_", "").isalnum() for id in ids)
    assert {box[1] for box in boxes} == {f'"{name}"]'.replace('"hi"', "&quot;hi&quot;") for name in names}
