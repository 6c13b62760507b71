"""What LangGraph's programs ask for and stepgraph has not, or does in another way; the page names these tests."""

from __future__ import annotations

import asyncio
import dataclasses
import operator
import sys
from typing import Annotated, Any

import langgraph.graph
import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.prebuilt import ToolNode
from typing_extensions import TypedDict

import stepgraph
from stepgraph import END, START, Command, RetryPolicy, Send, StateGraph, interrupt
from stepgraph.errors import GraphWarning, InvalidInputError, InvalidUpdateError, SerializationError, UnsupportedError
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


@pytest.mark.parametrize("name", ["InMemorySaver", "InMemoryStore", "ToolNode", "RemainingSteps", "AnyMessage"])
def test_names_that_are_elsewhere_say_where(name: str) -> None:
    """An import of a name of LangGraph's says what to do, and names the page."""
    with pytest.raises(ImportError, match=rf"no {name}\. .*docs/coming-from-langgraph.md"):
        exec(f"from stepgraph import {name}")


async def test_an_exit_in_a_task_of_a_node_fails_the_node() -> None:
    """asyncio raises a `SystemExit` of a task out of the event loop; here it is a failure like others."""

    async def exits() -> None:
        sys.exit(2)

    async def node(state: State) -> None:
        await asyncio.gather(exits())

    builder = StateGraph(State)
    builder.add_node(node)
    builder.add_edge(START, "node")
    with pytest.raises(RuntimeError, match=r"raised SystemExit\(2\)"):
        await MemoryRunner(builder.compile(name="exiting")).ainvoke({"log": []}, CONFIG)


def test_a_node_may_be_called_human() -> None:
    """The default virtual author gives way to it."""
    builder = StateGraph(State)
    builder.add_node("human", lambda state: {"log": ["human"]})
    builder.add_edge(START, "human")
    assert MemoryRunner(builder.compile(name="asking")).invoke({"log": []}, CONFIG) == {"log": ["human"]}


def test_an_unknown_key_of_a_context_is_refused() -> None:
    """A default would take the place of a key that is misspelt."""

    @dataclasses.dataclass
    class Context:
        user: str = "anybody"

    builder = StateGraph(State, Context)
    builder.add_node("node", lambda state: None)
    builder.add_edge(START, "node")
    with pytest.raises(InvalidInputError, match="a key 'usr'.* Did you mean 'user'"):
        MemoryRunner(builder.compile(name="contexts")).invoke({"log": []}, CONFIG, context={"usr": "ann"})


def test_an_input_of_a_send_that_is_too_deep_is_refused_at_its_sender() -> None:
    """Such a task could not be recorded."""
    deep: Any = []
    for _ in range(195):
        deep = [deep]
    builder = StateGraph(State)
    builder.add_node("first", lambda state: Command(goto=[Send("second", deep)]), destinations=("second",))
    builder.add_node("second", lambda state: None)
    builder.add_edge(START, "first")
    with pytest.raises(SerializationError, match="Node 'first' cannot send"):
        MemoryRunner(builder.compile(name="deep")).invoke({"log": []}, CONFIG)


@pytest.mark.parametrize(
    "returned", [Command(update={"log": ["x"]}, goto="last"), [Send("last", {"log": []})]], ids=["command", "send"]
)
def test_langgraphs_code_takes_our_commands_and_sends(returned: Any) -> None:
    """A tool, a node or a router of an adopted graph may return either library's."""
    builder = langgraph.graph.StateGraph(State)
    builder.add_node("first", lambda state: returned if isinstance(returned, Command) else None)
    builder.add_node("last", lambda state: {"log": ["last"]})
    builder.add_edge(langgraph.graph.START, "first")
    if not isinstance(returned, Command):
        builder.add_conditional_edges("first", lambda state: returned)
    result = MemoryRunner(stepgraph.adopt(builder, name="either")).invoke({"log": []}, CONFIG)
    assert result == {"log": ["x", "last"] if isinstance(returned, Command) else ["last"]}


def test_our_interrupt_asks_in_an_adopted_graph() -> None:
    """A program may mix graphs of both libraries."""
    builder = langgraph.graph.StateGraph(State)
    builder.add_node("first", lambda state: {"log": [interrupt("which?")]})
    builder.add_edge(langgraph.graph.START, "first")
    runner = MemoryRunner(stepgraph.adopt(builder, name="mixed"))
    runner.invoke({"log": []}, CONFIG)
    assert runner.invoke(Command(resume="this"), CONFIG) == {"log": ["this"]}


def test_a_tool_node_with_fallbacks_is_adopted() -> None:
    """LangGraph's tutorials wrap their tools so."""
    builder = langgraph.graph.StateGraph(langgraph.graph.MessagesState)
    fallback = RunnableLambda(lambda state: {"messages": []})
    builder.add_node("tools", ToolNode([]).with_fallbacks([fallback], exception_key="error"))
    builder.add_edge(langgraph.graph.START, "tools")
    assert stepgraph.adopt(builder, name="tools").name == "tools"


@pytest.mark.filterwarnings("ignore:'(input|output)' is now:DeprecationWarning")
def test_former_keywords_of_langgraph_are_taken_with_a_warning() -> None:
    """Much code still has them."""
    with pytest.warns(DeprecationWarning, match="'config_schema' is now 'context_schema'"):
        builder = StateGraph(State, input=State, output=State, config_schema=State)
    with pytest.warns(DeprecationWarning, match="'retry' is now 'retry_policy'"):
        builder.add_node("node", lambda state: {"log": ["node"]}, retry=RetryPolicy(), input=State)
    with pytest.raises(TypeError, match="takes 'retry_policy', or its former name"):
        builder.add_node("other", print, retry=None, retry_policy=None)
    builder.add_edge(START, "node")
    assert MemoryRunner(builder.compile(name="former")).invoke({"log": []}, CONFIG) == {"log": ["node"]}
