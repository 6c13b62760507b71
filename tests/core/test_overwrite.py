"""Tests of `Overwrite`: a write that replaces a channel's value, whatever reducer the channel has."""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph as LangGraphStateGraph
from langgraph.types import Overwrite as LangGraphOverwrite

from stepgraph import END, START, Overwrite, StateGraph
from stepgraph.errors import InvalidInputError, InvalidUpdateError
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD

Make = Callable[[Any], Any]
"""Makes a library's `Overwrite`."""


def last_two(left: list[str], right: list[str]) -> list[str]:
    return [*left, *right][-2:]


class State(TypedDict):
    log: Annotated[list[str], add]
    latest: Annotated[list[str], last_two]
    plain: int


def built(builder: Any, make: Make) -> Any:
    """Return a graph of two parallel nodes, of which one overwrites, and of one that writes after them."""
    builder.add_node("a", lambda state: {"log": ["a"], "latest": ["a"]})
    builder.add_node("b", lambda state: {"log": make(["new"]), "latest": make(["x", "y", "z"])})
    builder.add_node("c", lambda state: {"log": ["c"], "latest": ["c"]})
    builder.add_edge(START, "a")
    builder.add_edge(START, "b")
    builder.add_edge(["a", "b"], "c")
    builder.add_edge("c", END)
    return builder


def test_an_overwrite_replaces_the_value_as_in_langgraph() -> None:
    """Siblings' writes of the same super-step have no effect; later ones are folded into the new value."""
    theirs = built(LangGraphStateGraph(State), LangGraphOverwrite).compile(checkpointer=InMemorySaver())
    ours = MemoryRunner(built(StateGraph(State), Overwrite).compile(name="g"))
    given = {"log": ["in"], "latest": ["in"]}
    assert ours.invoke(given, THREAD) == theirs.invoke(given, THREAD) == {"log": ["new", "c"], "latest": ["z", "c"]}
    their_history = [each.values for each in theirs.get_state_history(THREAD)]
    assert [each.values for each in ours.get_state_history(THREAD)][:2] == their_history[:2]


def test_a_channel_is_overwritten_by_hand() -> None:
    """`update_state` and an input take an `Overwrite`, which is proven to fit the channel's type."""
    runner = MemoryRunner(built(StateGraph(State), Overwrite).compile(name="g"))
    runner.invoke({"log": ["in"], "latest": ["in"]}, THREAD)
    runner.update_state(THREAD, {"log": Overwrite(["by hand"]), "latest": Overwrite([])}, as_node="human")
    head = runner.get_state(THREAD)
    assert (head.values["log"], head.values["latest"]) == (["by hand"], [])
    assert head.metadata is not None
    assert head.metadata["writes"] == {"human": {"log": Overwrite(["by hand"]), "latest": Overwrite([])}}
    runner.update_state(THREAD, {"latest": ["more"]}, as_node="human")
    assert runner.get_state(THREAD).values["latest"] == ["more"]
    with pytest.raises(InvalidInputError, match="'log' is declared"):
        runner.update_state(THREAD, {"log": Overwrite(5)}, as_node="human")


def test_an_overwrite_of_a_channel_without_a_reducer_is_a_plain_write() -> None:
    """Nothing has to be replaced there: the write is the value in any case."""
    builder = StateGraph(State).add_node("a", lambda state: {"plain": Overwrite(3)})
    runner = MemoryRunner(builder.add_edge(START, "a").add_edge("a", END).compile(name="g"))
    assert runner.invoke({"plain": 1}, THREAD)["plain"] == 3


@pytest.mark.parametrize("channel", ["log", "latest"])
def test_two_overwrites_in_one_super_step_are_an_error(channel: str) -> None:
    """Neither could be the value; the error names the channel and both nodes."""
    builder = StateGraph(State)
    for name in ("a", "b"):
        builder.add_node(name, lambda state: {channel: Overwrite(["x"])}).add_edge(START, name).add_edge(name, END)
    runner = MemoryRunner(builder.compile(name="g"))
    with pytest.raises(InvalidUpdateError, match=f"'{channel}' got 2 overwrites in step 2 \\(from 'a', 'b'\\)"):
        runner.invoke({"log": []}, THREAD)


def test_a_router_sees_what_its_node_overwrote() -> None:
    """It sees the value that the commit makes."""
    seen: list[Any] = []

    def router(state: State) -> str:
        seen.append((state["log"], state["latest"]))
        return END

    builder = StateGraph(State).add_node("b", lambda state: {"log": Overwrite(["new"]), "latest": Overwrite(["n"])})
    runner = MemoryRunner(builder.add_edge(START, "b").add_conditional_edges("b", router).compile(name="g"))
    runner.invoke({"log": ["in"], "latest": ["in"]}, THREAD)
    assert seen == [(["new"], ["n"])]
