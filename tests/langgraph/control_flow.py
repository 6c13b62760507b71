"""Programs about where a graph goes next: sends, commands, joins, routers, interrupts."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, TypedDict

from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Overwrite, Send, interrupt

from tests.langgraph.programs import EACH, Programs

programs = Programs()
program = programs.program


class Log(TypedDict):
    """A state with a list that grows."""

    log: Annotated[list[Any], operator.add]


class Jokes(TypedDict):
    """The state of a map-reduce."""

    subjects: list[str]
    jokes: Annotated[list[str], operator.add]
    best: str


@program({"subjects": ["owls", "tea", "rain"]})
def map_reduce() -> Any:
    """A router sends one task for each subject; a node that is triggered by all of them reads the results."""
    builder = StateGraph(Jokes)
    builder.add_node("list", lambda state: {"subjects": sorted(state["subjects"])})
    builder.add_node("joke", lambda sent: {"jokes": [f"a joke on {sent['subject']}"]})
    builder.add_node("choose", lambda state: {"best": min(state["jokes"], key=len)})
    builder.add_edge(START, "list")
    send_each = lambda state: [Send("joke", {"subject": subject}) for subject in state["subjects"]]  # noqa: E731
    builder.add_conditional_edges("list", send_each, ["joke"])
    builder.add_edge("joke", "choose")
    return builder.add_edge("choose", END).compile()


@program({"log": []})
def a_deferred_node() -> Any:
    """A node that waits until nothing else is due, and sent tasks that lead on meanwhile."""

    def first(state: Log) -> Any:
        return Command(update={"log": ["first"]}, goto=[Send("sent", 1), Send("sent", 2), "last"])

    builder = StateGraph(Log).add_node("first", first).add_node("sent", lambda number: {"log": [f"sent {number}"]})
    builder.add_node("after", lambda state: {"log": ["after"]})
    builder.add_node("last", lambda state: {"log": [f"last of {len(state['log'])}"]}, defer=True)
    return builder.add_edge(START, "first").add_edge("sent", "after").compile()


@program({"log": []})
def commands() -> Any:
    """Nodes that say by a command where the graph goes: to a node, to a task of its own, to the end."""

    def first(state: Log) -> Command[Literal["second", "third"]]:
        return Command(update={"log": ["first"]}, goto=["second", Send("third", {"number": 1})])

    def second(state: Log) -> Command[Literal["__end__"]]:
        return Command(update={"log": ["second"]}, goto=END)

    def third(sent: Any) -> Any:
        return [{"log": ["third"]}, Command(update=[("log", [f"third got {sent}"])], goto="fourth")]

    def fourth(state: Log) -> Any:
        return {"log": Overwrite([*state["log"], "fourth"])}

    builder = StateGraph(Log)
    for name, node in {"first": first, "second": second, "third": third, "fourth": fourth}.items():
        builder.add_node(name, node)
    return builder.add_edge(START, "first").compile()


@program({"log": []}, "A", "B", EACH)
def interrupts() -> Any:
    """A node that asks twice, then two nodes side by side that ask, and a join after them."""

    def twice(state: Log) -> Any:
        return {"log": [f"{interrupt('first?')} and {interrupt('second?')}"]}

    async def left(state: Log) -> Any:
        return {"log": [f"left: {interrupt('left?')}"]}

    def right(state: Log) -> Any:
        return {"log": [f"right: {interrupt({'question': 'right?'})}"]}

    builder = StateGraph(Log).add_node("twice", twice).add_node("left", left).add_node("right", right)
    builder.add_node("middle", lambda state: {"log": ["middle"]}).add_node("join", lambda state: {"log": ["join"]})
    builder.add_edge(START, "twice")
    for name in ("left", "middle", "right"):
        builder.add_edge("twice", name)
    return builder.add_edge(["left", "middle", "right"], "join").compile()


@program({"log": []}, "yes")
def a_router_that_asks() -> Any:
    """A router may ask a human, too; its node then runs again."""
    builder = StateGraph(Log).add_node("a", lambda state: None).add_node("b", lambda state: {"log": ["b"]})
    builder.add_conditional_edges("a", lambda state: "b" if interrupt("go on?") == "yes" else END, ["b", END])
    return builder.add_edge(START, "a").compile()


@program({"log": ["x"]})
def entry_routers() -> Any:
    """A router decides where the graph begins, and sends a task."""

    def enter(state: Log) -> Any:
        return ["a", Send("b", {"log": ["sent"]})]

    builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]})
    builder.add_node("b", lambda state: {"log": [f"b got {state['log']}"]})
    return builder.add_conditional_edges(START, enter, ["a", "b"]).compile()


@program({"log": []})
def keys_that_only_a_router_sees() -> Any:
    """A router sees what its node returned, the keys that the state does not have included."""
    builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"], "extra": 1})
    builder.add_node("b", lambda state: {"log": ["b"]}).add_edge(START, "a")
    route = lambda state: "b" if state.get("extra") == 1 else END  # noqa: E731
    return builder.add_conditional_edges("a", route, ["b", END]).compile()


@program([1])
def a_state_of_one_value() -> Any:
    """A graph whose state is a list, not a mapping."""
    builder: Any = StateGraph(Annotated[list, operator.add])  # type: ignore[type-var]  # LangGraph takes it
    builder.add_node("a", lambda state: [len(state)]).add_node("b", lambda state: ["b"]).add_edge(START, "a")
    return builder.add_conditional_edges("a", lambda state: "b" if state[-1] == 1 else END, ["b", END]).compile()


@program({"log": []})
def async_routers() -> Any:
    """A router that is async, after a node that is not, and the other way round."""

    async def to_b(state: Log) -> Literal["b"]:
        return "b"

    async def b(state: Log) -> Any:
        return {"log": ["b"]}

    builder = StateGraph(Log).add_node("a", lambda state: {"log": ["a"]}).add_node("b", b)
    builder.add_node("c", lambda state: {"log": ["c"]}).add_edge(START, "a").add_conditional_edges("a", to_b)
    return builder.add_conditional_edges("b", lambda state: "c", ["c"]).compile()


@program({"log": []})
def names_with_dots_and_slashes() -> Any:
    """Middleware names its nodes ``Middleware.hook``; LangGraph allows slashes, too."""
    builder = StateGraph(Log)
    builder.add_node("Guard.before/after", lambda state: {"log": [get_config()["metadata"]["langgraph_node"]]})
    return builder.add_edge(START, "Guard.before/after").compile()


@program({"log": []})
def loops() -> Any:
    """A loop of a node and a router, until a number is reached."""
    builder = StateGraph(Log).add_node("count", lambda state: {"log": [len(state["log"])]}).add_edge(START, "count")
    again = lambda state: "count" if len(state["log"]) < 4 else END  # noqa: E731
    return builder.add_conditional_edges("count", again, ["count", END]).compile()
