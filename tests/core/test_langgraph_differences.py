"""What LangGraph's programs ask for and stepgraph has not, or does in another way; the page names these tests."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

import pytest

from stepgraph import END, START, Command, Send, StateGraph
from stepgraph.errors import GraphWarning, InvalidUpdateError, UnsupportedError
from stepgraph.testing import MemoryRunner

CONFIG = {"configurable": {"thread_id": "t"}}


class State(TypedDict):
    """A log of the nodes that ran."""

    log: Annotated[list[str], operator.add]


def deferring() -> MemoryRunner:
    """Return a graph that pauses where its deferred node is due."""
    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"log": ["first"]})
    builder.add_node("late", lambda state: {"log": ["late"]}, defer=True)
    builder.add_edge(START, "first").add_edge("first", "late").add_edge("late", END)
    return MemoryRunner(builder.compile(name="deferring", interrupt_before=["late"]))


def test_a_send_with_a_timeout_is_refused() -> None:
    """The message says where a timeout belongs, and names the page."""
    with pytest.raises(UnsupportedError, match=r"add_node\(\.\.\., timeout=\.\.\.\).*docs/coming-from-langgraph.md"):
        Send("first", {}, timeout=3)


def test_callbacks_of_a_call_are_warned_about() -> None:
    """They are objects of the caller's process, and nodes run in others."""
    with pytest.warns(GraphWarning, match="'callbacks' do not reach nodes"):
        deferring().invoke({"log": []}, {**CONFIG, "callbacks": [object()]})


def test_a_command_that_names_a_deferred_node_that_is_due_runs_it() -> None:
    """LangGraph puts the node off, perhaps for ever."""
    runner = deferring()
    runner.invoke({"log": []}, CONFIG)
    assert runner.invoke(Command(goto="late"), CONFIG, interrupt_before=()) == {"log": ["first", "late"]}


def test_an_update_by_hand_takes_no_command() -> None:
    """What runs next is said by ``as_node``."""
    runner = deferring()
    runner.invoke({"log": []}, CONFIG)
    with pytest.raises(InvalidUpdateError, match="Command"):
        runner.update_state(CONFIG, Command(update={"log": ["x"]}, goto="first"))


def test_subgraphs_may_be_asked_for_where_there_are_none() -> None:
    """The argument has no effect yet."""
    runner = deferring()
    runner.invoke({"log": []}, CONFIG)
    assert runner.get_state(CONFIG, subgraphs=True) == runner.get_state(CONFIG)
