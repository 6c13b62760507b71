"""The graphs of the recorded histories and what was done with them.

Graph names, node names and operations are part of the recordings: changing them means recording anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from operator import add
from typing import Annotated, Any, TypedDict

from stepgraph import END, START, Command, GraphClient, RetryPolicy, StateGraph, interrupt
from stepgraph.errors import GraphRecursionError, InvalidUpdateError, ReducerError
from stepgraph.graph.compiled import CompiledGraph

Config = dict[str, Any]


class State(TypedDict):
    words: Annotated[list[str], add]
    text: str
    turns: int


attempts: dict[str, int] = {}


def fails_first(name: str, returned: Mapping[str, Any]) -> Callable[[State], Mapping[str, Any]]:
    """Return a node that fails at its first attempt."""

    def node(state: State) -> Mapping[str, Any]:
        attempts[name] = attempts.get(name, 0) + 1
        if attempts[name] == 1:
            raise ConnectionError(f"{name} does not answer")
        return returned

    return node


def pipeline() -> CompiledGraph:
    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"words": ["first"]})
    builder.add_node("second", fails_first("second", {"words": ["second"]}))
    builder.add_edge(START, "first").add_edge("first", "second").add_edge("second", END)
    return builder.compile(name="pipeline")


def joined() -> CompiledGraph:
    builder = StateGraph(State)
    builder.add_node("left", lambda state: {"words": ["left"]})
    builder.add_node("right", fails_first("right", {"words": ["right"]}))
    builder.add_node("after", lambda state: {"text": " ".join(state["words"])})
    builder.add_edge(START, "left").add_edge(START, "right").add_edge(["left", "right"], "after")
    return builder.add_edge("after", END).compile(name="joined")


def looping() -> CompiledGraph:
    builder = StateGraph(State)
    builder.add_node("turn", lambda state: {"turns": state["turns"] + 1, "words": ["x" * 1000]})
    builder.add_conditional_edges(START, lambda state: "turn", ["turn"])
    builder.add_conditional_edges("turn", lambda state: END if state["turns"] >= 12 else "turn", ["turn", END])
    return builder.compile(name="looping")


def clashing() -> CompiledGraph:
    builder = StateGraph(State)
    builder.add_node("left", lambda state: {"text": "left"})
    builder.add_node("right", lambda state: {"text": "right"}, retry_policy=RetryPolicy(), timeout=60)
    builder.add_edge(START, "left").add_edge(START, "right").add_edge("left", END).add_edge("right", END)
    return builder.compile(name="clashing")


def fused() -> CompiledGraph:
    """A graph of fused super-steps, with an interrupt among them, and a node that is never fused."""
    builder = StateGraph(State)

    def turn(state: State) -> dict[str, Any]:
        words = [interrupt("go on?")] if state["turns"] == 7 else []
        return {"turns": state["turns"] + 1, "words": words}

    builder.add_node("turn", turn).add_node("alone", lambda state: {"words": ["alone"]}, durability="sync")
    builder.add_edge(START, "turn")
    builder.add_conditional_edges("turn", lambda state: "alone" if state["turns"] in (4, 12) else "turn")
    builder.add_conditional_edges("alone", lambda state: END if state["turns"] >= 12 else "turn")
    return builder.compile(name="row", durability="async")


def asking() -> CompiledGraph:
    """A graph whose first node interrupts."""
    builder = StateGraph(State)
    builder.add_node("ask", lambda state: {"words": [interrupt({"turn": state["turns"]})]})
    builder.add_node("after", lambda state: {"text": " ".join(state["words"])})
    builder.add_edge(START, "ask").add_edge("ask", "after").add_edge("after", END)
    return builder.compile(name="asking")


def largest(left: list[int], right: list[int]) -> list[int]:
    """A reducer that only the graph's code has.

    It fails twice on a number above 100: in the activity of the node that writes it, and at the commit.
    """
    if right and max(right) > 100:
        attempts["largest"] = attempts.get("largest", 0) + 1
        if attempts["largest"] <= 2:
            raise ValueError("too large")
    return sorted([*left, *right])[-3:]


class Scores(TypedDict):
    best: Annotated[list[int], largest]
    words: Annotated[list[str], add]


def folding() -> CompiledGraph:
    """A graph whose nodes write one channel with a custom reducer side by side, before a router."""
    builder = StateGraph(Scores)
    builder.add_node("low", lambda state: {"best": [1, 2], "words": ["low"]})
    builder.add_node("high", lambda state: {"best": [101, 5], "words": ["high"]})
    builder.add_node("after", lambda state: {"words": [str(state["best"])]})
    builder.add_edge(START, "low").add_edge(START, "high").add_edge("low", END)
    builder.add_conditional_edges("high", lambda state: "after" if 101 in state["best"] else END)
    return builder.add_edge("after", END).compile(name="folding")


async def mend_a_reducer(client: GraphClient, config: Config) -> None:
    """A reducer fails and is mended; then it folds an update by hand, and one in the name of a node with a router."""
    attempts.pop("largest", None)
    with suppress(ReducerError):
        await client.ainvoke({"best": [3], "words": []}, config)
    await client.ainvoke(None, config)
    await client.aupdate_state(config, {"best": [200]}, as_node="human")
    await client.aupdate_state(config, {"best": [300]}, as_node="high")
    await client.ainvoke(None, config)


async def answer_one_interrupt(client: GraphClient, config: Config) -> None:
    await client.ainvoke({"words": [], "turns": 0}, config)
    await client.ainvoke(Command(resume="yes"), config)


async def use_all_commands(client: GraphClient, config: Config) -> None:
    """Answers, updates, forks and replays on an open and on a closed thread, queued inputs, and refused commands."""
    await client.ainvoke({"words": ["in"], "turns": 1}, config)
    waiting = (await client.aget_state(config)).config
    await client.aupdate_state(config, {"turns": 2}, as_node="human")
    handle = client.client.get_workflow_handle(config["configurable"]["thread_id"])
    await handle.signal("update_state", {"values": {"trns": 3}})
    await client.ainvoke(Command(resume="yes"), config)
    with suppress(InvalidUpdateError):
        await client.aupdate_state(config, {"words": ["late"]}, as_node="nobody")
    await client.aupdate_state(config, {"words": ["late"]}, as_node="ask")
    await client.ainvoke(None, config)
    await client.afork(waiting, {"words": ["forked"]}, as_node="human")
    queued = [
        await client.astart({"words": [word], "turns": 4}, config, on_busy="enqueue")
        for word in ("one", "two", "three")
    ]
    for run in queued:
        await run.result()
    await client.ainvoke(Command(resume="done"), config)
    await client.ainvoke(None, waiting)
    await client.ainvoke(Command(resume="again"), config)


async def fail_and_resume(client: GraphClient, config: Config) -> None:
    with suppress(ConnectionError):
        await client.ainvoke({"words": ["in"]}, config)
    await client.ainvoke(None, config)


async def reach_the_limit_and_resume(client: GraphClient, config: Config) -> None:
    with suppress(GraphRecursionError):
        await client.ainvoke({"words": [], "turns": 0}, {**config, "recursion_limit": 9})
    await client.ainvoke(None, config)
    await client.ainvoke({"turns": 11}, config)


async def clash(client: GraphClient, config: Config) -> None:
    with suppress(InvalidUpdateError):
        await client.ainvoke({"words": []}, config)


SCENARIOS: dict[str, tuple[CompiledGraph, Callable[[GraphClient, Config], Awaitable[None]]]] = {
    "pipeline": (pipeline(), fail_and_resume),
    "joined": (joined(), fail_and_resume),
    "looping": (looping(), reach_the_limit_and_resume),
    "clashing": (clashing(), clash),
    "row": (fused(), answer_one_interrupt),
    "asking": (asking(), use_all_commands),
    "folding": (folding(), mend_a_reducer),
}
