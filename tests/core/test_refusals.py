"""Tests of graph definitions that are refused: each error names the culprit, the rule and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from operator import add
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from stepgraph import END, START, RetryPolicy, StateGraph
from stepgraph.errors import GraphDefinitionError
from tests.core.graphs import build, state_of


class State(TypedDict, total=False):
    text: str
    log: Annotated[list[str], add]


def node(state: State) -> None: ...


def route(state: State) -> str:
    return "search"


def builder() -> StateGraph:
    """Return START > search > END, to which a test adds a mistake."""
    return build(State, "START > search, search > END", {"search": node})


Mistake = Callable[[StateGraph], Any]

AT_COMPILE: dict[str, tuple[Mistake, str]] = {
    "an edge to an unknown node": (
        lambda b: b.add_edge("search", "repot").add_node("report", node).add_edge("report", END),
        "edge 'search' -> 'repot' names a node 'repot' that does not exist. Did you mean 'report'?",
    ),
    "an edge from an unknown node": (
        lambda b: b.add_edge("serach", END),
        "edge 'serach' -> '__end__' names a node 'serach' that does not exist. Did you mean 'search'?",
    ),
    "an edge to a name without a near miss": (
        lambda b: b.add_edge("search", "zzz"),
        "names a node 'zzz' that does not exist. Known: 'search'.",
    ),
    "a join with an unknown source": (
        lambda b: b.add_edge(["search", "seek"], END),
        "edge 'seek' -> '__end__' names a node 'seek' that does not exist.",
    ),
    "a join before an unknown node": (
        lambda b: b.add_edge(["search"], "end"),
        "edge 'search' -> 'end' names a node 'end' that does not exist.",
    ),
    "a router that may lead to an unknown node": (
        lambda b: b.add_conditional_edges("search", route, ["search", "serch"]),
        "edge 'search' -> 'serch' names a node 'serch' that does not exist. Did you mean 'search'?",
    ),
    "a conditional edge from an unknown node": (
        lambda b: b.add_conditional_edges("serch", route, ["search"]),
        "conditional edge 'route' from 'serch' names a node 'serch' that does not exist. Did you mean 'search'?",
    ),
    "an edge from END": (
        lambda b: b.add_edge(END, "search"),
        "edge '__end__' -> 'search' starts at END, where nothing can follow. Remove it.",
    ),
    "a join with END among its sources": (
        lambda b: b.add_edge(["search", END], "search"),
        "edge '__end__' -> 'search' starts at END, where nothing can follow. Remove it.",
    ),
    "a conditional edge from END": (
        lambda b: b.add_conditional_edges(END, route, ["search"]),
        "conditional edge 'route' starts at END, where nothing can follow. Remove it.",
    ),
    "an edge to START": (
        lambda b: b.add_edge("search", START),
        "edge 'search' -> '__start__' leads to START. Let it lead to the first node instead.",
    ),
    "a router that may lead to START": (
        lambda b: b.add_conditional_edges("search", route, {"again": START}),
        "edge 'search' -> '__start__' leads to START. Let it lead to the first node instead.",
    ),
}


@pytest.mark.parametrize(("mistake", "message"), AT_COMPILE.values(), ids=AT_COMPILE.keys())
def test_compile_refuses_a_graph_that_could_not_run_or_end(mistake: Mistake, message: str) -> None:
    """An error of `compile` names the edge or node at fault, what is wrong with it, and how to fix it."""
    graph_builder = builder()
    mistake(graph_builder)
    with pytest.raises(GraphDefinitionError, match=re.escape(message)):
        graph_builder.compile(name="g")


def test_a_graph_needs_nodes_and_an_entry_point() -> None:
    """An error about a graph without nodes or entry point shows the call that adds them."""
    with pytest.raises(GraphDefinitionError, match=r"Graph 'g' has no nodes\. Add one with add_node\(\)\."):
        StateGraph(State).compile(name="g")
    with pytest.raises(
        GraphDefinitionError, match=r"Graph 'g' has no entry point\. Add one with add_edge\(START, 'node'\)\."
    ):
        build(State, "search > END", {"search": node}).compile(name="g")


@pytest.mark.parametrize("name", ["", " ", "a b", "a.b", "-a", "a" * 101, "é", 5, "a\n"])
def test_a_graph_whose_name_cannot_be_a_workflow_type_is_refused(name: Any) -> None:
    """A graph's name is part of workflow types, activity types and task queue names."""
    with pytest.raises(GraphDefinitionError, match=r"A graph's name must be 1 to 100 letters.*; got " + repr(name)[0]):
        builder().compile(name=name)


def takes_two_states(state: State, other: State) -> None: ...


AT_THE_CALL: dict[str, tuple[Mistake, str]] = {
    "a name used twice": (
        lambda b: b.add_node("search", node),
        "There are two nodes named 'search'. Give each a name of its own.",
    ),
    "START's name": (lambda b: b.add_node(START, node), "Node name '__start__' is reserved. Choose one without"),
    "END's name": (lambda b: b.add_node(END, node), "Node name '__end__' is reserved."),
    "a name with the reserved prefix": (lambda b: b.add_node("__mine", node), "Node name '__mine' is reserved."),
    "a state key's name": (
        lambda b: b.add_node("text", node),
        "Node 'text' has the name of a state key. Rename one of them",
    ),
    "an empty name": (lambda b: b.add_node("", node), "Node name '' must have 1 to 200 printable characters"),
    "a blank name": (lambda b: b.add_node(" ", node), "Node name ' ' must have 1 to 200 printable characters"),
    "a space at an end": (lambda b: b.add_node("a ", node), "and no space at its ends"),
    "a line break": (lambda b: b.add_node("a\nb", node), r"Node name 'a\nb' must have 1 to 200 printable"),
    "a slash": (lambda b: b.add_node("a/b", node), "none of them '/', '|' or ':'"),
    "a bar": (lambda b: b.add_node("a|b", node), "none of them '/', '|' or ':'"),
    "a colon": (lambda b: b.add_node("a:b", node), "none of them '/', '|' or ':'"),
    "a name too long": (lambda b: b.add_node("a" * 201, node), "must have 1 to 200 printable characters"),
    "a name without a function": (lambda b: b.add_node("n"), "Node 'n' has no function: add_node('n', function)."),
    "a function that is a string": (
        lambda b: b.add_node("n", "f"),
        "Node 'n' must be a function or a Runnable, got 'f'.",
    ),
    "neither name nor function": (
        lambda b: b.add_node(5),
        "add_node takes a function or a Runnable, or a name and one of these; got 5",
    ),
    "two functions": (
        lambda b: b.add_node(node, node),
        "add_node takes a function or a Runnable, or a name and one of these",
    ),
    "a node that takes two arguments": (
        lambda b: b.add_node("n", takes_two_states),
        "Node 'n' cannot be called as function(state) with any of config, runtime, store, writer by name: there is no "
        "value for its parameter 'other'. Give that parameter a default, or leave it out.",
    ),
    "a mapping of functions": (
        lambda b: b.add_node("n", {"a": node}),
        "must be a function or a Runnable, got {'a': <function node",
    ),
    "a graph as a node": (
        lambda b: b.add_node("n", builder().compile(name="inner")),
        "Node 'n' is a graph of stepgraph. Graphs as nodes are not supported yet: see docs/coming-from-langgraph.md.",
    ),
    "metadata that is no mapping": (
        lambda b: b.add_node("n", node, metadata=["owner"]),
        "Node 'n': metadata must be a mapping with strings as keys, got ['owner'].",
    ),
    "an empty sequence": (lambda b: b.add_sequence([]), "add_sequence takes a list of at least one node; got []."),
    "two lambdas in a sequence": (
        lambda b: b.add_sequence([lambda state: None, lambda state: None]),
        "There are two nodes named '<lambda>'. Give each a name of its own.",
    ),
    "a retry policy of another type": (
        lambda b: b.add_node("n", node, retry_policy={"max_attempts": 3}),
        "Node 'n': retry_policy must be a stepgraph.RetryPolicy, or several, got {'max_attempts': 3}.",
    ),
    "a blank task queue": (
        lambda b: b.add_node("n", node, task_queue=" "),
        "Node 'n': task_queue must be the name of a task queue, of at most 200 characters, got ' '. Leave it out",
    ),
    "a task queue that is not a string": (lambda b: b.add_node("n", node, task_queue=5), "task_queue must be the name"),
    "a router that is not a function": (
        lambda b: b.add_conditional_edges("search", "report"),
        "The router of 'search' must be a function or a Runnable, got 'report'.",
    ),
    "a router that takes two arguments": (
        lambda b: b.add_conditional_edges("search", takes_two_states),
        "The router of 'search' cannot be called as function(state)",
    ),
    "a path_map that is a string": (
        lambda b: b.add_conditional_edges("search", route, "search"),
        "The path_map of 'search' must be a mapping to nodes, or a list of nodes; got 'search'. Leave it out",
    ),
    "a path_map without destinations": (
        lambda b: b.add_conditional_edges("search", route, {}),
        "The path_map of 'search' must be a mapping to nodes, or a list of nodes; got {}.",
    ),
    "a path_map to a function": (
        lambda b: b.add_conditional_edges("search", route, {"x": node}),
        "The path_map of 'search' names nodes by their names; got <function node",
    ),
    "a conditional edge from a list": (
        lambda b: b.add_conditional_edges(["search"], route),
        "add_conditional_edges names nodes by their names; got ['search'].",
    ),
    "an edge to a function": (
        lambda b: b.add_edge("search", node),
        "add_edge names nodes by their names; got <function",
    ),
    "an edge to None": (lambda b: b.add_edge("search", None), "add_edge names nodes by their names; got None."),
    "an edge from a number": (lambda b: b.add_edge(5, "search"), "add_edge names nodes by their names; got 5."),
    "a join with a number": (lambda b: b.add_edge(["search", 5], END), "add_edge names nodes by their names; got 5."),
    "a join without sources": (
        lambda b: b.add_edge([], END),
        "The join before '__end__' has no sources. Name the nodes that it waits for.",
    ),
}


@pytest.mark.parametrize(("mistake", "message"), AT_THE_CALL.values(), ids=AT_THE_CALL.keys())
def test_builder_methods_refuse_mistakes_at_once(mistake: Mistake, message: str) -> None:
    """A builder method with a mistake raises at once, and leaves the builder as it was."""
    graph_builder = builder()
    with pytest.raises(GraphDefinitionError, match=re.escape(message)):
        mistake(graph_builder)
    assert graph_builder.compile(name="g").registry.spec == builder().compile(name="g").registry.spec


@pytest.mark.parametrize(
    "value",
    [0, -1, float("nan"), float("inf"), 1e300, True, "soon", timedelta(0), timedelta(days=-1), timedelta.max],
)
@pytest.mark.parametrize("option", ["timeout", "heartbeat_timeout"])
def test_a_duration_that_temporal_does_not_accept_is_refused(option: str, value: Any) -> None:
    """An error about a node's duration names node, option and value."""
    message = f"Node 'n': {option} must be a positive number of seconds or a timedelta"
    with pytest.raises(GraphDefinitionError, match=rf"{re.escape(message)}.*got {re.escape(repr(value))}\."):
        builder().add_node("n", node, **{option: value})


@pytest.mark.parametrize(
    "policy",
    [
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"max_attempts": "3"},
        {"max_attempts": True},
        {"max_attempts": 2**31},
        {"initial_interval": -1},
        {"initial_interval": float("nan")},
        {"initial_interval": timedelta(seconds=1)},
        {"backoff_factor": 0.5},
        {"backoff_factor": None},
        {"backoff_factor": float("inf")},
        {"max_interval": float("inf")},
        {"max_interval": -1},
        {"retry_on": ValueError()},
        {"retry_on": {ValueError}},
        {"retry_on": [ValueError, "KeyError"]},
        {"retry_on": int},
        {"retry_on": "ValueError"},
        {"retry_on": KeyboardInterrupt},
    ],
    ids=str,
)
def test_an_invalid_retry_policy_is_refused(policy: dict[str, Any]) -> None:
    """An invalid retry policy is refused when the node is added, not when the node first fails."""
    with pytest.raises(GraphDefinitionError, match=r"^Node 'n': RetryPolicy needs .*; got "):
        builder().add_node("n", node, retry_policy=RetryPolicy(**policy))


class Opaque:
    """A class that has no schema and cannot be encoded as JSON."""


class Unfinished(BaseModel):
    later: Later  # type: ignore[name-defined]  # noqa: F821


TYPES: dict[str, tuple[Any, str]] = {
    "a class without a schema": (Opaque, "declared Opaque, which cannot travel between processes"),
    "such a class inside a list": (list[Opaque], "cannot travel between processes"),
    "a function": (Callable[[int], int], "cannot travel between processes: it stands for a function"),
    "an optional function": (Callable[[int], int] | None, "it stands for a function"),
    "a class": (type[int], "it stands for a class"),
    "an iterator": (Iterable[int], "it stands for an iterator, which is used up by reading it"),
    "a model with an undefined type": (
        list[Unfinished],
        "name 'Later' is not defined. Declare a dataclass, a pydantic model or",
    ),
}


@pytest.mark.parametrize(("declared", "message"), TYPES.values(), ids=TYPES.keys())
def test_a_state_key_of_a_type_without_json_is_refused(declared: Any, message: str) -> None:
    """A type that JSON cannot carry is refused, by key, when the state is declared, not when a node first writes it."""
    with pytest.raises(GraphDefinitionError, match=rf"State key 'odd' is .*{re.escape(message)}"):
        StateGraph(state_of({"odd": declared}))


async def slow_add(left: list[str], right: list[str]) -> list[str]:
    return left + right


REDUCERS: dict[str, tuple[Callable[..., Any], str]] = {
    "one argument": (lambda left: left, "must take two arguments, (current, update): too many positional arguments."),
    "three arguments": (lambda a, b, c: a, "must take two arguments, (current, update): missing a required argument"),
    "async": (slow_add, "is async. Reducers run where nothing can be awaited: make it a plain function"),
}


@pytest.mark.parametrize(("reducer", "message"), REDUCERS.values(), ids=REDUCERS.keys())
def test_a_reducer_with_the_wrong_signature_is_refused(reducer: Callable[..., Any], message: str) -> None:
    """An error about a reducer names the state key that the reducer belongs to."""
    with pytest.raises(GraphDefinitionError, match=f"The reducer of state key 'odd' {re.escape(message)}"):
        StateGraph(state_of({"odd": Annotated[list[str], reducer]}))


@dataclass
class Point:
    x: int


class WithUnknownName(TypedDict):
    key: Nowhere  # type: ignore[name-defined]  # noqa: F821


class WithUnknownAttribute(TypedDict):
    key: re.Nowhere  # type: ignore[name-defined]


class Empty(TypedDict):
    pass


@pytest.mark.parametrize("state", [Opaque, None, Point(1), {"x": int}, "State"])
def test_a_state_of_an_unsupported_type_is_refused(state: Any) -> None:
    """The error about an unsupported state lists what a state may be."""
    with pytest.raises(
        GraphDefinitionError, match=r"StateGraph takes a TypedDict, a dataclass or a pydantic model.*; got"
    ):
        StateGraph(state)


@pytest.mark.parametrize("state", [WithUnknownName, WithUnknownAttribute])
def test_a_state_with_unresolvable_annotations_is_refused(state: type) -> None:
    """An error about annotations names the state, the unknown name, and where to define it."""
    with pytest.raises(
        GraphDefinitionError, match=rf"The state {state.__name__} has .*Nowhere.*\. Define the type at module level"
    ):
        StateGraph(state)


def test_a_state_without_keys_is_refused() -> None:
    """A state must have keys, or nodes would have nothing to read or write."""
    with pytest.raises(GraphDefinitionError, match=r"The state Empty declares no keys\."):
        StateGraph(Empty)


def test_a_definition_error_has_its_culprit_as_an_attribute() -> None:
    """Programs can read the culprit of a `GraphDefinitionError` without parsing its message."""
    with pytest.raises(GraphDefinitionError) as caught:
        builder().add_edge("search", "serch").compile(name="g")
    assert caught.value.node == "serch"
    assert isinstance(caught.value, ValueError)
