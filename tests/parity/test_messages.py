"""Conversations behave alike in stepgraph and LangGraph: inputs, replacements, removals, updates, replays."""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import Annotated, Any
from uuid import UUID

import langgraph.graph.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage, HumanMessage, RemoveMessage
from typing_extensions import TypedDict

import stepgraph
from stepgraph.serde.message_list import to_messages
from stepgraph.testing import MemoryRunner
from tests.conftest import Stage
from tests.parity.cases import Case, Cases, observe_both
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, Library
from tests.parity.operations import invoke, replay, resume, update

cases = Cases()
case = cases.case


@pytest.mark.parametrize("case", cases.params)
async def test_conversations_are_alike(case: Case, stage: Stage) -> None:
    """Results, heads and histories are equal, apart from the ids that each library makes itself."""
    ours, theirs = await observe_both(case, stage)
    assert without_made_ids(dataclasses.asdict(ours)) == without_made_ids(dataclasses.asdict(theirs))


def without_made_ids(value: Any) -> Any:
    """Return an observation with the ids of messages left out that a library made.

    What a node or a caller wrote is shown as messages by stepgraph, and as it was written by LangGraph.
    """
    if isinstance(value, dict):
        parts = {key: to_messages(item) if key == "messages" else item for key, item in value.items()}
        return {key: without_made_ids(item) for key, item in parts.items()}
    if isinstance(value, list | tuple):
        return [without_made_ids(item) for item in value]
    if isinstance(value, BaseMessage) and value.id is not None and is_uuid(value.id):
        return value.model_copy(update={"id": None})
    return value


def is_uuid(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False


def state(library: Library) -> type:
    """The state of messages of the library itself."""
    return stepgraph.MessagesState if library is STEPGRAPH else langgraph.graph.MessagesState


class OfLangGraph(TypedDict):
    """A program that kept LangGraph's import of the reducer."""

    messages: Annotated[list[AnyMessage], langgraph.graph.message.add_messages]


def echo(state: Any) -> dict[str, Any]:
    last = state["messages"][-1]
    return {"messages": [AIMessage(f"You said {last.content}")]}


def replace_first(state: Any) -> dict[str, Any]:
    return {"messages": [HumanMessage("replaced", id=state["messages"][0].id)]}


def keep_last(state: Any) -> dict[str, Any]:
    return {"messages": [RemoveMessage(message.id) for message in state["messages"][:-1]]}


def start_anew(state: Any) -> dict[str, Any]:
    return {"messages": [RemoveMessage("__remove_all__"), AIMessage("anew", id="anew")]}


def remove_unknown(state: Any) -> dict[str, Any]:
    return {"messages": [RemoveMessage("unknown")]}


@case(
    invoke({"messages": [("user", "hi")]}), invoke({"messages": "ho"}), invoke({"messages": HumanMessage("x", id="1")})
)
def a_chat(library: Library) -> Any:
    return library.build(state(library), "START > echo, echo > END", echo=echo)


@case(invoke({"messages": {"role": "user", "content": "hi"}}), invoke({"messages": ["ho", ("ai", "hm")]}))
def with_the_reducer_of_langgraph(library: Library) -> Any:
    return library.build(OfLangGraph, "START > echo, echo > END", echo=echo)


@case(invoke({"messages": [HumanMessage("hi", id="1"), AIMessage("ho", id="2"), HumanMessage("hm", id="3")]}))
def a_node_that_replaces_and_one_that_removes(library: Library) -> Any:
    edges = "START > replace, replace > echo, echo > keep, keep > END"
    return library.build(state(library), edges, replace=replace_first, echo=echo, keep=keep_last)


@case(invoke({"messages": "hi"}), invoke({"messages": "hm"}))
def a_node_that_starts_anew(library: Library) -> Any:
    return library.build(state(library), "START > a, a > END", a=start_anew)


@case(invoke({"messages": "hi"}))
def siblings_that_write_to_one_conversation(library: Library) -> Any:
    edges = "START > a, START > b, START > c, a > END, b > END, c > END"
    return library.build(state(library), edges, a=echo, b=replace_first, c=echo)


@case(
    invoke({"messages": [HumanMessage("hi", id="1")]}),
    update({"messages": [HumanMessage("hello", id="1"), AIMessage("by hand", id="2")]}, as_node="echo"),
    update({"messages": [RemoveMessage("1")]}, as_node="echo"),
    update({"messages": [("user", "a pair")]}, as_node="echo"),
    replay(1),
    update({"messages": [HumanMessage("forked", id="1")]}, as_node="__start__", at=1),
    resume(),
)
def updates_and_replays(library: Library) -> Any:
    return library.build(state(library), "START > echo, echo > END", echo=echo)


IDS = st.sampled_from(["1", "2", "3"])
TEXTS = st.sampled_from(["", "x"])
WRITES = st.one_of(
    st.builds(lambda text, id: AIMessage(text, id=id), TEXTS, IDS),
    st.builds(lambda text, id: AIMessageChunk(text, id=id), TEXTS, IDS),
    st.builds(lambda text, id: {"role": "user", "content": text, "id": id}, TEXTS, IDS),
    (IDS | st.just("__remove_all__")).map(lambda id: RemoveMessage(id)),
    st.sampled_from(["hi", ("system", "be kind")]),
)
STEPS = st.lists(st.tuples(*[st.lists(WRITES, max_size=3) | WRITES] * 2), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_random_conversations_are_alike(steps: list[tuple[Any, Any]]) -> None:
    """Two nodes write messages side by side, in each of several super-steps: values and failures are equal."""

    def outcome(library: Library) -> Any:
        nodes, edges = {}, ["START > a0", "START > b0"]
        for number, (left, right) in enumerate(steps):
            nodes |= {f"a{number}": writes(left), f"b{number}": writes(right)}
            if number:
                edges += [f"a{number - 1}+b{number - 1} > {name}{number}" for name in "ab"]
        builder = library.build(state(library), ", ".join(edges), **nodes)
        config = {"configurable": {"thread_id": "t"}}
        try:
            if library is STEPGRAPH:
                return without_made_ids(MemoryRunner(builder.compile(name="g")).invoke({"messages": []}, config))
            return without_made_ids(builder.compile().invoke({"messages": []}, config))
        except Exception as error:
            (found,) = re.findall(r"Attempting to delete a message with an ID that doesn't exist \('\w+'\)", str(error))
            return found

    assert outcome(STEPGRAPH) == outcome(LANGGRAPH)


def writes(messages: Any) -> Any:
    return lambda state: {"messages": copy.deepcopy(messages)}
