"""Tests of a graph's schemas: what an input may set, what a node gets, what a result shows, states of one value."""

from __future__ import annotations

import re
from itertools import pairwise
from operator import add, or_
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from stepgraph import END, START, Overwrite, StateGraph
from stepgraph.errors import GraphDefinitionError, InvalidInputError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD


class State(TypedDict, total=False):
    question: str
    answer: str
    log: Annotated[list[str], add]


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: str


class Notes(BaseModel):
    notes: list[str] = []


def take_notes(state: Question) -> dict[str, Any]:
    return {"notes": [state["question"]]}


def write(state: Notes) -> dict[str, Any]:
    return {"answer": ", ".join(state.notes), "log": [type(state).__name__]}


def essay(**options: Any) -> CompiledGraph:
    builder = StateGraph(State, input_schema=Question, output_schema=Answer)
    builder.add_node("take", take_notes).add_node("write", write)
    return builder.add_edge(START, "take").add_edge("take", "write").add_edge("write", END).compile(name="essay")


def test_a_result_has_the_keys_of_the_output_and_a_snapshot_has_all() -> None:
    """`invoke` returns the keys of ``output_schema``; `get_state` shows every channel, private ones included."""
    runner = MemoryRunner(essay())
    assert runner.invoke({"question": "why"}, THREAD) == {"answer": "why"}
    values = {"question": "why", "answer": "why", "log": ["Notes"], "notes": ["why"]}
    assert runner.get_state(THREAD).values == values


def test_keys_of_the_state_that_the_input_lacks_are_ignored() -> None:
    """An input sets the keys of ``input_schema``; what it has of other keys is left out, whatever it is."""
    runner = MemoryRunner(essay())
    runner.invoke({"question": "why", "answer": object(), "notes": ["ignored"]}, THREAD)
    assert runner.get_state(THREAD).values["notes"] == ["why"]


def test_a_key_that_no_class_has_is_refused_with_the_near_miss() -> None:
    """LangGraph ignores such a key. Most are misspelt, so the error names the key that may be meant."""
    with pytest.raises(InvalidInputError, match=r"'qestion' that its state does not declare\. Did you mean 'question'"):
        MemoryRunner(essay()).invoke({"qestion": "why"}, THREAD)


def test_an_update_may_set_private_keys() -> None:
    """`update_state` takes every channel, also those that no input sets."""
    runner = MemoryRunner(essay())
    runner.invoke({"question": "why"}, THREAD)
    runner.update_state(THREAD, {"notes": ["by hand"]}, as_node="take")
    assert runner.invoke(None, THREAD) == {"answer": "by hand"}


def test_the_spec_names_the_channels_of_input_and_output() -> None:
    """A reader without the graph's code, and a run that is started by hand, know them from the spec."""
    spec = essay().registry.spec
    assert (spec.input_channels, spec.output_channels) == (("question",), ("answer",))
    assert spec.channel_names == ("question", "answer", "log", "notes")


def test_two_classes_with_different_reducers_for_a_key_are_refused() -> None:
    """One channel has one reducer; a class that leaves the reducer out shares the channel."""

    class Other(TypedDict):
        log: Annotated[list[str], or_]

    with pytest.raises(GraphDefinitionError, match=r"^Key 'log' has another reducer in .*Other than in a class before"):
        StateGraph(State, input_schema=Other)
    assert StateGraph(State, input_schema=TypedDict("Plain", {"log": list[str]})).schema.channels["log"].reducer is add


def one_value(declared: Any, *nodes: Any) -> MemoryRunner:
    builder = StateGraph(declared)
    names = [START, *(f"n{number}" for number in range(len(nodes))), END]
    for name, node in zip(names[1:], nodes, strict=False):
        builder.add_node(name, node)
    for source, target in pairwise(names):
        builder.add_edge(source, target)
    return MemoryRunner(builder.compile(name="value"))


def test_a_state_of_one_value_is_that_value_everywhere() -> None:
    """Input, what nodes get and return, updates, results, snapshots and their tasks have the value without a key."""
    runner = one_value(Annotated[list, add], lambda state: [len(state)], lambda state: None)
    assert runner.invoke(["a", "b"], THREAD) == ["a", "b", 2]
    assert [snapshot.values for snapshot in runner.get_state_history(THREAD)][:3] == [["a", "b", 2]] * 2 + [["a", "b"]]
    assert [task.result for task in list(runner.get_state_history(THREAD))[2].tasks] == [[2]]
    runner.update_state(THREAD, ["c"], as_node="human")
    assert runner.get_state(THREAD).values == ["a", "b", 2, "c"]


@pytest.mark.parametrize(
    ("declared", "value", "node", "result"),
    [
        (int, 3, lambda state: state + 1, 4),
        (dict, {"a": 1}, lambda state: {**state, "b": 2}, {"a": 1, "b": 2}),
        (Annotated[dict, or_], {"a": 1}, lambda state: {"b": 2}, {"a": 1, "b": 2}),
        (Annotated[str, add], "a", lambda state: "b", "ab"),
        (Annotated[list, add], ["a"], lambda state: Overwrite(["b"]), ["b"]),
        (Notes | None, {"notes": ["a"]}, lambda state: Notes(notes=[*state.notes, "b"]), Notes(notes=["a", "b"])),
    ],
)
def test_the_one_value_may_be_of_any_type(declared: Any, value: Any, node: Any, result: Any) -> None:
    """A number, a text, a dict, a model: with a reducer or without."""
    assert one_value(declared, node).invoke(value, THREAD) == result


def test_a_value_that_was_checked_by_hand_is_taken_as_it_is() -> None:
    """A command line checks JSON against the schema first; what that returns has the channel's name."""
    schema = StateGraph(Annotated[list, add]).schema
    assert schema.encode_input("g", schema.check_input("g", ["a"])) == {"__root__": ["a"]}


def test_a_value_that_does_not_fit_a_state_of_one_value_is_refused() -> None:
    """The error names the channel of the one value and its type."""
    with pytest.raises(InvalidInputError, match=re.escape("'__root__' is declared int, got str: ")):
        one_value(int, lambda state: state).invoke("many", THREAD)


def test_a_node_gets_its_own_class_and_a_router_what_its_node_got() -> None:
    """A router without an annotation sees the keys of its node's class, and what the node has written."""
    seen: list[Any] = []
    builder = StateGraph(State, input_schema=Question)
    builder.add_node("take", take_notes).add_node("write", write)
    builder.add_edge(START, "take").add_edge("write", END)
    builder.add_conditional_edges("take", lambda state: seen.append(state) or "write", ["write"])
    MemoryRunner(builder.compile(name="g")).invoke({"question": "why"}, THREAD)
    assert seen == [{"question": "why", "notes": ["why"]}]
