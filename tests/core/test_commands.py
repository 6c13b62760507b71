"""Tests of `Command` and `Send`: what a node and its routers write, and what runs next."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from operator import add
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import langgraph.types
import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from stepgraph import END, START, Command, Overwrite, Send, StateGraph
from stepgraph.errors import GraphDefinitionError, InvalidUpdateError, NodeError, SerializationError
from stepgraph.graph.destinations import command_ends
from stepgraph.testing import MemoryRunner

THREAD = {"configurable": {"thread_id": "t"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    day: date
    n: int
    path: PurePosixPath


def hears(state: Any) -> dict[str, Any]:
    """A node that logs what it got."""
    return {"log": [repr(state)]}


def runner(returned: Any, *, state: Any = State, **nodes: Any) -> MemoryRunner:
    """Return a graph whose node ``first`` returns something; nothing but commands and sends leads to the others."""
    builder = StateGraph(state).add_node("first", lambda _: returned, destinations=list(nodes)).add_edge(START, "first")
    for name, node in nodes.items():
        builder.add_node(name, node)
    return MemoryRunner(builder.compile(name="g"))


def says(name: str) -> Any:
    return lambda state: {"log": [name]}


RETURNED: dict[str, tuple[Any, list[str]]] = {
    "a command": (Command(update={"log": ["first"]}, goto="a"), ["first", "a"]),
    "a command without an update": (Command(goto=["b", "a"]), ["a", "b"]),
    "a command that goes nowhere": (Command(update={"log": ["first"]}), ["first"]),
    "a command to END": (Command(update={"log": ["first"]}, goto=END), ["first"]),
    "an update as pairs": (Command(update=[("log", ["x"]), ("log", ["y"])], goto=()), ["x", "y"]),
    "several commands": ([Command(update={"log": ["x"]}, goto="b"), Command(update={"log": ["y"]})], ["x", "y", "b"]),
    "commands and mappings": (({"log": ["x"]}, Command(goto="a"), None), ["x", "a"]),
    "one node twice": ([Command(goto="a"), Command(goto="a")], ["a"]),
    "a send": (Command(goto=Send("a", {})), ["a"]),
    "a send by itself": (Send("a", {}), ["a"]),
    "a node and a send to it": (Command(goto=["a", Send("a", {}), Send("b", {})]), ["a", "a", "b"]),
    "an overwrite": ([{"log": ["lost"]}, Command(update={"log": Overwrite(["kept"])})], ["kept"]),
    "LangGraph's own classes": (
        [
            langgraph.types.Command(update={"log": langgraph.types.Overwrite(["x"])}, goto="b"),
            langgraph.types.Command(goto=[langgraph.types.Send("a", {})]),
        ],
        ["x", "b", "a"],
    ),
}


@pytest.mark.parametrize(("returned", "log"), RETURNED.values(), ids=RETURNED.keys())
def test_a_node_returns_commands(returned: Any, log: list[str]) -> None:
    """Their updates are written in order; named nodes run by name, and sent ones after them in the order sent."""
    assert runner(returned, a=says("a"), b=says("b")).invoke({}, THREAD)["log"] == log


def test_commands_edges_and_routers_lead_on_together() -> None:
    """A node that several of them name runs once; its router sees what the command wrote."""
    builder = StateGraph(State).add_node("first", lambda _: Command(update={"n": 3}, goto=["a", "b"]))
    for name in "abcd":
        builder.add_node(name, says(name))
    builder.add_edge(START, "first").add_edge("first", "a").add_edge("a", END)
    builder.add_conditional_edges("first", lambda state: ["c", Send("d", state)] if state["n"] == 3 else END)
    assert MemoryRunner(builder.compile(name="g")).invoke({}, THREAD)["log"] == ["a", "b", "c", "d"]


def test_a_sent_node_gets_its_own_input_of_the_same_types() -> None:
    """Not the state: JSON data, values whose classes travel by a tag, or of the types that the state declares."""
    args: list[Any] = [
        {"day": date(2026, 1, 2), "other": (1,)},
        {"n": "not an int", "path": PurePosixPath("a")},
        *("text", 3, None, [1, 2], {}),
    ]
    result = runner(Command(goto=[Send("a", arg) for arg in args]), a=hears).invoke({"n": 1}, THREAD)
    assert result["log"] == [repr(arg) for arg in args]


@dataclass
class Card:
    day: date
    log: Annotated[list[str], add]


class Model(BaseModel):
    day: date | None = None
    log: Annotated[list[str], add] = []


@pytest.mark.parametrize(
    "arg", [Card(date(2026, 1, 2), ["x"]), Model(day=date(2026, 1, 2))], ids=["dataclass", "model"]
)
def test_an_instance_of_the_state_can_be_sent(arg: Any) -> None:
    """The node gets an equal instance."""
    sent = runner(Command(goto=Send("a", arg)), state=type(arg), a=hears)
    assert sent.invoke({"day": date(2026, 1, 1), "log": []}, THREAD)["log"] == [repr(arg)]


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "an unknown node": (
        Command(goto="alpa"),
        InvalidUpdateError,
        "A Command of node 'first' leads to 'alpa', which is not a node. Did you mean 'alpha'?",
    ),
    "START": (Command(goto=START), InvalidUpdateError, "leads to '__start__', which is not a node."),
    "no name": (Command(goto=[None]), InvalidUpdateError, "leads to None, which is not a node."),
    "a send to an unknown node": (
        Command(goto=[Send("alpa", {})]),
        InvalidUpdateError,
        "Node 'first' sends to 'alpa', which is not a node. Did you mean 'alpha'?",
    ),
    "a send to END": (Send(END, {}), InvalidUpdateError, "Node 'first' sends to '__end__', which is not a node."),
    "an unknown key": (
        Command(update={"lgo": []}),
        InvalidUpdateError,
        "Node 'first' wrote 'lgo', which the state does not declare. Did you mean 'log'?",
    ),
    "an update that is no mapping": (
        Command(update="x"),
        InvalidUpdateError,
        "Node 'first' returned a Command whose update is str. Return a mapping",
    ),
    "the graph around it": (
        Command(graph=Command.PARENT, goto="alpha"),
        InvalidUpdateError,
        "Node 'first' returned Command(graph=Command.PARENT), and its graph has no graph around it.",
    ),
    "an input that is no data": (
        Command(goto=[Send("alpha", {"socket": object()})]),
        SerializationError,
        "Node 'first' cannot send this dict to 'alpha': 'socket': object is not among the classes that may travel.",
    ),
    "several overwrites": (
        [{"log": Overwrite([])}, Command(update={"log": Overwrite([])})],
        InvalidUpdateError,
        "Channel 'log' got 2 overwrites in step 2 (from 'first', 'first').",
    ),
}


@pytest.mark.parametrize(("returned", "kind", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_command_that_cannot_be_followed_fails_its_node(returned: Any, kind: type[Exception], message: str) -> None:
    """The error names the node, what is wrong, and the near miss."""
    with pytest.raises(kind, match=re.escape(message)) as caught:
        runner(returned, alpha=says("alpha")).invoke({}, THREAD)
    if "overwrites" not in message:
        assert isinstance(caught.value, NodeError)
        assert caught.value.node == "first"


def test_a_router_that_sends_nowhere_fails_its_node() -> None:
    """Its error names the router, and a mapping renames no `Send`."""
    builder = StateGraph(State).add_node("a", says("a")).add_edge(START, "a").add_node("b", says("b"))
    builder.add_conditional_edges("a", lambda state: [Send("B", 1)], {"B": "b"})
    with pytest.raises(NodeError, match="Router 'router' of node 'a' sends to 'B', which is not a node"):
        MemoryRunner(builder.compile(name="g")).invoke({}, THREAD)


class Callable:
    def __call__(self, state: Any) -> Command[Literal["a"]]:
        return Command(goto="a")


def annotated(state: Any) -> Command[Literal["a", "__end__"]]:
    return Command(goto="a")


def in_a_union(state: Any) -> dict[str, Any] | Command[Literal["a"]] | list[Command[Literal["b"]]]:
    return {}


def of_langgraph(state: Any) -> langgraph.types.Command[Literal["a"]]:
    return langgraph.types.Command(goto="a")


@pytest.mark.parametrize(
    ("node", "ends"),
    [
        (annotated, ("a", END)),
        (in_a_union, ("a", "b")),
        (of_langgraph, ("a",)),
        (Callable(), ("a",)),
        (lambda state: None, None),
        (len, None),
    ],
    ids=["a function", "a union", "LangGraph's class", "an object", "a lambda", "a builtin"],
)
def test_an_annotation_says_where_commands_lead(node: Any, ends: Any) -> None:
    """`Command[Literal["a"]]`, wherever it stands in the return annotation."""
    assert command_ends("node", node, None) == (ends, None)


def test_destinations_are_checked_and_drawn() -> None:
    """They must exist; they count as ways to a node, so `compile` does not warn; labels stand at the arrows."""
    builder = StateGraph(State).add_node("first", annotated).add_edge(START, "first").add_node("a", hears)
    drawing = builder.compile(name="g").get_graph().draw_mermaid()
    assert "first -.-> a;" in drawing
    builder = StateGraph(State).add_node("first", annotated, destinations={"b": "go on"}).add_edge(START, "first")
    with pytest.raises(GraphDefinitionError, match="edge 'first' -> 'b' names a node 'b' that does not exist"):
        builder.compile(name="g")
    assert (
        "first -. &nbsp;go on&nbsp; .-> b;" in builder.add_node("b", hears).compile(name="g").get_graph().draw_mermaid()
    )
    with pytest.raises(GraphDefinitionError, match="Node 'x': destinations must be a list of nodes, or a mapping"):
        builder.add_node("x", hears, destinations="b")
