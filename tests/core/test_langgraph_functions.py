"""Tests of LangGraph's own functions and tools in nodes of stepgraph: a library may bring them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import langgraph.graph
import langgraph.types
import pytest
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.errors import NodeInterrupt
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

import stepgraph
from stepgraph import END, START, Command, MessagesState, StateGraph
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD


def runner_of(called: BaseTool, **options: Any) -> MemoryRunner:
    """Return a runner of a graph whose only node is a `ToolNode` with a tool."""
    builder = StateGraph(MessagesState).add_node(ToolNode([called], **options))
    return MemoryRunner(
        builder.add_edge(START, "tools").add_edge("tools", END).compile(name="g", store=InMemoryStore())
    )


def calling(called: BaseTool) -> dict[str, list[AnyMessage]]:
    """Return an input whose message calls a tool."""
    return {"messages": [AIMessage("", tool_calls=[{"name": called.name, "args": {"question": "go?"}, "id": "1"}])]}


@pytest.mark.parametrize("interrupt", [stepgraph.interrupt, langgraph.types.interrupt], ids=["stepgraph", "langgraph"])
@pytest.mark.parametrize("options", [{}, {"handle_tool_errors": True}], ids=["plain", "errors are handled"])
def test_a_tool_may_wait_for_a_human_by_either_librarys_function(
    interrupt: Callable[[Any], Any], options: dict[str, Any]
) -> None:
    """The thread waits at each call, and a `ToolNode` takes the interrupt for no error of the tool."""

    @tool
    def ask(question: str) -> str:
        """Ask a human twice."""
        return f"{interrupt({'first': question})} and {interrupt('second')}"

    runner = runner_of(ask, **options)
    [first] = runner.invoke(calling(ask), THREAD)["__interrupt__"]
    assert first.value == {"first": "go?"}
    [second] = runner.invoke(Command(resume="yes"), THREAD)["__interrupt__"]
    assert (second.value, second.id == first.id) == ("second", False)
    assert runner.invoke(Command(resume="now"), THREAD)["messages"][-1].content == "yes and now"


def test_both_functions_count_their_calls_together() -> None:
    """Answers match by the order of all calls of a node, whichever library's function it calls."""

    def node(state: MessagesState) -> dict[str, Any]:
        answers = [stepgraph.interrupt("a"), langgraph.types.interrupt("b"), stepgraph.interrupt("c")]
        return {"messages": [AIMessage(" ".join(answers))]}

    builder = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").add_edge("n", END)
    runner = MemoryRunner(builder.compile(name="g"))
    values = [each.value for each in runner.invoke({}, THREAD)["__interrupt__"]]
    for answer in ("1", "2"):
        values += [each.value for each in runner.invoke(Command(resume=answer), THREAD)["__interrupt__"]]
    assert values == ["a", "b", "c"]
    assert runner.invoke(Command(resume="3"), THREAD)["messages"][-1].content == "1 2 3"


@pytest.mark.filterwarnings("ignore:NodeInterrupt is deprecated")
def test_an_interrupt_that_is_raised_by_hand_is_one() -> None:
    """LangGraph's `NodeInterrupt` waits, and waits again when the node raises it again."""

    def node(state: MessagesState) -> None:
        raise NodeInterrupt("too long")

    builder = StateGraph(MessagesState).add_node("n", node).add_edge(START, "n").add_edge("n", END)
    runner = MemoryRunner(builder.compile(name="g"))
    assert [each.value for each in runner.invoke({}, THREAD)["__interrupt__"]] == ["too long"]
    assert [each.value for each in runner.invoke(Command(resume="x"), THREAD)["__interrupt__"]] == ["too long"]


def test_tools_find_state_store_and_runtime() -> None:
    """What a `ToolNode` injects into its tools is there, as in LangGraph."""

    @tool
    def look(
        question: str,
        state: Annotated[Any, InjectedState],
        store: Annotated[BaseStore, InjectedStore()],
        runtime: ToolRuntime[Any, Any],
    ) -> str:
        """Look around."""
        return f"{len(state['messages'])} {runtime.store is store} {runtime.tool_call_id}"

    assert runner_of(look).invoke(calling(look), THREAD)["messages"][-1].content == "1 True 1"


def test_a_tool_may_return_langgraphs_command() -> None:
    """A `ToolNode` returns it in a list, and its update is written."""

    @tool
    def change(question: str) -> langgraph.types.Command[Any]:
        """Change the state."""
        return langgraph.types.Command(update={"messages": [ToolMessage("changed", tool_call_id="1")]})

    assert runner_of(change).invoke(calling(change), THREAD)["messages"][-1].content == "changed"


@pytest.mark.parametrize("way", ["as the node", "in a node"])
def test_a_graph_of_langgraph_in_a_node_waits_and_goes_on(way: str) -> None:
    """It runs whole in the node. Its interrupts are the node's, and with each answer it runs from its beginning."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{langgraph.types.interrupt('1st')} {langgraph.types.interrupt('2nd')}")]}

    inner = (
        langgraph.graph.StateGraph(MessagesState).add_node(ask).add_edge(START, "ask").add_edge("ask", END).compile()
    )

    def call(state: MessagesState) -> Any:
        return inner.invoke({"messages": []})

    builder = StateGraph(MessagesState).add_node("n", inner if way == "as the node" else call)
    runner = MemoryRunner(builder.add_edge(START, "n").add_edge("n", END).compile(name="g"))
    values = [each.value for each in runner.invoke({"messages": []}, THREAD)["__interrupt__"]]
    values += [each.value for each in runner.invoke(Command(resume="a"), THREAD)["__interrupt__"]]
    assert values == ["1st", "2nd"]
    assert runner.invoke(Command(resume="b"), THREAD)["messages"][-1].content == "a b"
