"""Programs with graphs inside of nodes: as nodes, called in a node's body, in tools; with interrupts and commands."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from tests.langgraph.programs import EACH, Programs
from tests.langgraph.scripted_model import ScriptedModel, calling

programs = Programs()
program = programs.program


class Log(TypedDict):
    """A state with a list that grows."""

    log: Annotated[list[Any], operator.add]


class Inner(TypedDict):
    """The state of an inner graph."""

    log: Annotated[list[Any], operator.add]
    private: str


def graph_of(state: Any = Log, **nodes: Any) -> Any:
    """Return a graph of nodes that run one after the other."""
    builder = StateGraph(state)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(before, name)
        before = name
    return builder.compile()


@program({"log": ["start"]}, "D")
def a_graph_as_a_node() -> Any:
    """Two graphs deep, one of which asks; then a command to the parent, and a last graph."""
    deep = graph_of(Inner, ask=lambda state: {"log": [f"deep: {interrupt('deep?')}"], "private": "p"})

    def leave(state: Inner) -> Any:
        return Command(graph=Command.PARENT, goto="other", update={"log": ["left"]})

    inner = graph_of(Inner, first=lambda state: {"log": ["first"], "private": "i"}, deep=deep, leave=leave)
    last = graph_of(Inner, q=lambda state: {"log": [f"q sees {len(state['log'])}"]})
    builder = StateGraph(Log).add_node("inner", inner).add_node("other", lambda state: {"log": ["other"]})
    return builder.add_node("last", last).add_edge(START, "inner").add_edge("other", "last").compile()


@program({"log": []}, "one", "two")
def a_graph_called_in_a_body() -> Any:
    """The same graph called twice, which asks each time."""
    inner = graph_of(ask=lambda state: {"log": [f"asked: {interrupt('inner?')}"]})

    async def outer(state: Log) -> Any:
        first = await inner.ainvoke({"log": ["in 1"]})
        second = await inner.ainvoke({"log": [*first["log"], "in 2"]})
        return {"log": [*second["log"], "outer"]}

    return graph_of(outer=outer)


@program({"log": []}, "A", "between", "B")
def a_hidden_graph() -> Any:
    """A graph that nothing can see from outside, and interrupts of its own and of its node."""
    hidden = {"graph": graph_of(ask=lambda state: {"log": [f"asked: {interrupt('ask ' + state['log'][0])}"]})}

    async def outer(state: Log) -> Any:
        first = await hidden["graph"].ainvoke({"log": ["A"]})
        between = interrupt("between?")
        second = await hidden["graph"].ainvoke({"log": ["B"]})
        return {"log": [*first["log"], between, *second["log"]]}

    return graph_of(outer=outer)


@program({"log": ["start"]})
def commands_to_the_parent_from_a_body() -> Any:
    """A graph that is called in a body tells the outer one where to go."""

    def up(state: Log) -> Any:
        return Command(graph=Command.PARENT, goto="other", update={"log": ["up"]})

    inner = graph_of(up=up)
    builder = StateGraph(Log).add_node("outer", lambda state: inner.invoke({"log": []}))
    builder.add_node("other", lambda state: {"log": ["other"]}).add_edge(START, "outer")
    return builder.compile()


@tool
def ask(question: str) -> str:
    """Ask a human, twice."""
    return f"{interrupt(question + ', first')}, {interrupt(question + ', second')}"


@program({"messages": "go"}, EACH, EACH)
def an_agent_in_a_tool() -> Any:
    """An agent whose tool calls another agent, whose tool asks a human."""
    inner = create_agent(ScriptedModel(script=[calling(("ask", {"question": "x"})), "inner end"]), [ask])

    @tool
    def delegate(what: str) -> str:
        """Delegate."""
        return str(inner.invoke({"messages": [HumanMessage(what)]})["messages"][-1].text)

    return create_agent(ScriptedModel(script=[calling(("delegate", {"what": "w"})), "outer end"]), [delegate])


@program({"messages": "go"}, EACH, EACH)
def an_agent_as_a_node() -> Any:
    """An agent as a node of a graph; its tool asks a human, twice."""
    agent = create_agent(ScriptedModel(script=[calling(("ask", {"question": "x"})), "end"]), [ask])
    count = lambda state: {"messages": [HumanMessage(f"{len(state['messages'])} messages")]}  # noqa: E731
    return graph_of(MessagesState, agent=agent, count=count)


@tool
def transfer_to_bob(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Hand over to Bob."""
    message = ToolMessage("transferred", tool_call_id=tool_call_id)
    return Command(graph=Command.PARENT, goto="bob", update={"messages": [message], "active": "bob"})


class Swarm(MessagesState):
    """The state of a swarm."""

    active: str


@program({"messages": "go", "active": "alice"})
def a_swarm() -> Any:
    """Agents as nodes, one of which hands over to the other by a tool."""
    alice = create_agent(ScriptedModel(script=[calling(("transfer_to_bob", {}))]), [transfer_to_bob], name="alice")
    bob = create_agent(ScriptedModel(script=["", "bob here"]), [], name="bob")
    builder = StateGraph(Swarm).add_node("alice", alice, destinations=("bob",)).add_node("bob", bob)
    return (
        builder.add_conditional_edges(START, lambda state: state["active"], ["alice", "bob"])
        .add_edge("bob", END)
        .compile()
    )
