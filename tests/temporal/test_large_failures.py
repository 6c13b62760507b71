"""Failures whose text is larger than Temporal's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypedDict

import pytest

from stepgraph import END, START, StateGraph
from stepgraph.errors import NodeError
from tests.conftest import Stage
from tests.patience import PATIENCE


class State(TypedDict):
    query: str


def failing(text: str) -> Callable[[State], None]:
    """Return a node that fails with this text."""

    def node(state: State) -> None:
        raise ConnectionError(text)

    return node


@pytest.mark.parametrize("characters", [100_000, 3_000_000, 5_000_000])
async def test_an_exception_with_a_long_text_is_cut(stage: Stage, characters: int) -> None:
    """An exception with a long text keeps its type, and the run ends after one attempt."""
    builder = StateGraph(State).add_node("fail", failing("x" * characters))
    graph = builder.add_edge(START, "fail").add_edge("fail", END).compile(name="wordy")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="xxx") as caught:
            await asyncio.wait_for(client.ainvoke({"query": "x"}, config), PATIENCE)
        assert isinstance(caught.value, NodeError)
        assert caught.value.attempts == 1
        assert len(str(caught.value)) < 30_000
        assert (await client.aget_state(config)).next == ("fail",)


async def test_many_long_failures_at_once_are_shortened(stage: Stage) -> None:
    """After many long failures the run ends, the thread can be read, and every task has its error, with less text."""
    builder = StateGraph(State)
    names = [f"fail_{number:02}" for number in range(99)]
    for name in names:
        builder.add_node(name, failing("x" * 19_000)).add_edge(START, name).add_edge(name, END)
    graph = builder.compile(name="wordy")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(client.ainvoke({"query": "x"}, config), PATIENCE)
        state = await client.aget_state(config)
    assert state.next == tuple(names)
    assert all(str(task.error).startswith("ConnectionError('xxx") for task in state.tasks)


async def test_a_long_failure_beside_a_large_state_ends_the_run(stage: Stage) -> None:
    """Error, traceback and record share what a server takes of a failure; the thread can be read and resumed."""
    builder = StateGraph(State)
    builder.add_node("write", lambda state: {"query": "x" * 1_880_000})
    builder.add_node("fail", failing("\N{PARTY POPPER}" * 20_000))
    builder.add_edge(START, "write").add_edge("write", "fail").add_edge("fail", END)
    graph = builder.compile(name="wordy")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(client.ainvoke({"query": "x"}, config), PATIENCE)
        state = await client.aget_state(config)
    assert state.next == ("fail",)
    assert len(state.values["query"]) == 1_880_000
