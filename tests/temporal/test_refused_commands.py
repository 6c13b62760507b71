"""A refused command changes nothing: it leaves no failed run, no other head, and no new thread."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.client import WorkflowExecutionStatus

from stepgraph import END, START, StateGraph
from stepgraph.client import GraphClient
from stepgraph.errors import (
    CheckpointNotFoundError,
    InvalidUpdateError,
    ReducerError,
    StepgraphError,
    ThreadBusyError,
)
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.snapshot import config_for
from tests.conftest import Stage
from tests.temporal.graphs import chain


def total(before: int, more: int) -> int:
    if more < 0:
        raise ArithmeticError("below zero")
    return before + more


class State(TypedDict):
    lines: Annotated[list[str], add]
    total: Annotated[int, total]


def routed() -> CompiledGraph:
    """Return a graph of one, a router that fails on a certain line, and two."""

    def router(state: State) -> str:
        if state["lines"][-1] == "nowhere":
            raise LookupError("no way")
        return "two"

    builder = StateGraph(State)
    builder.add_node("one", lambda state: {"lines": ["one"], "total": 1})
    builder.add_node("two", lambda state: {"lines": ["two"]})
    builder.add_edge(START, "one").add_conditional_edges("one", router, {"two": "two"})
    return builder.add_edge("two", END).compile(name="routed")


async def state_and_history(client: GraphClient, config: dict[str, Any]) -> list[Any]:
    """Return all that a client can read of a thread."""
    history = [snapshot async for snapshot in client.aget_state_history(config)]
    return [await client.aget_state(config), history]


@pytest.mark.parametrize("with_schema", [True, False])
async def test_an_invalid_update_or_fork_starts_no_run(stage: Stage, with_schema: bool) -> None:
    """An invalid update or fork of a closed thread is refused before a run starts, also without the graph's schema.

    Types are the exception: without the schema, only the graph's code can tell, in a run that refuses the update.
    """
    graph = routed()
    client, config = stage.use(graph), stage.thread()
    if not with_schema:
        client = GraphClient(stage.client, graph.name, task_queue=stage.task_queue)
    thread_id, new = config["configurable"]["thread_id"], stage.thread()["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"lines": []}, config)
        before, runs = await state_and_history(client, config), await stage.runs(thread_id)
        run_id = runs[0].run_id
        invalid: list[tuple[str | None, Any, str | None, type[StepgraphError], str]] = [
            (None, {"lines": []}, "tow", InvalidUpdateError, "no node 'tow'.* Did you mean 'two'"),
            (None, {"line": []}, "one", InvalidUpdateError, "a key 'line'"),
            ("nonsense", {"lines": []}, "one", CheckpointNotFoundError, "no checkpoint 'nonsense'"),
            (f"{run_id}.000099", {"lines": []}, "one", CheckpointNotFoundError, "no checkpoint"),
        ]
        for checkpoint_id, values, as_node, error, message in invalid:
            at = config_for(thread_id, checkpoint_id)
            with pytest.raises(error, match=message):
                await client.aupdate_state(at, values, as_node=as_node)
            with pytest.raises(error, match=message):
                await client.afork(at, values, as_node=as_node)
            with pytest.raises(error, match=message):
                await client.afork(at, values, as_node=as_node, thread_id=new)
        if with_schema:
            with pytest.raises(InvalidUpdateError, match="'total' is declared"):
                await client.aupdate_state(config, {"total": "much"}, as_node="one")
        assert await stage.runs(thread_id) == runs
        assert await stage.runs(new) == []
        if not with_schema:
            with pytest.raises(InvalidUpdateError, match="'total' is declared"):
                await client.aupdate_state(config, {"total": "much"}, as_node="one")
            assert len(await stage.runs(thread_id)) == len(runs) + 1
        assert await state_and_history(client, config) == before


async def test_an_update_that_fails_in_its_run_changes_nothing(stage: Stage) -> None:
    """If a reducer or a router raises in an update, its run completes with the error, and makes no checkpoint."""
    graph = routed()
    client, config = stage.use(graph), stage.thread()
    thread_id, new = config["configurable"]["thread_id"], stage.thread()["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"lines": []}, config)
        before = await state_and_history(client, config)
        for values, error, message in (
            ({"total": -1}, ReducerError, "below zero"),
            ({"lines": ["nowhere"]}, StepgraphError, "no way"),
        ):
            with pytest.raises(error, match=message):
                await client.aupdate_state(config, values, as_node="one")
            with pytest.raises(error, match=message):
                await client.afork(config, values, as_node="one")
            assert await state_and_history(client, config) == before
            with pytest.raises(error, match=message):
                await client.afork(config, values, as_node="one", thread_id=new)
            assert (await client.aget_state(config_for(new))).checkpoint_id is None
        statuses = [run.status for name in (thread_id, new) for run in await stage.runs(name)]
        assert statuses == [WorkflowExecutionStatus.COMPLETED] * 7
        assert (await client.afork(config, {"total": 1}, as_node="one", thread_id=new))["total"] == 2
        with pytest.raises(StepgraphError, match="There is a thread .* already"):
            await client.afork(config, {"total": 1}, as_node="one", thread_id=new)
        assert (await client.ainvoke({"lines": ["on"]}, config))["lines"] == ["one", "two", "on", "one", "two"]


async def test_a_failed_thread_can_be_resumed_after_a_refused_update(stage: Stage) -> None:
    """A refused update leaves a failed thread its error and results; a resume then runs only the failed task."""
    runs: list[str] = []

    def good(state: State) -> dict[str, Any]:
        runs.append("good")
        return {"lines": ["good"]}

    def bad(state: State) -> dict[str, Any]:
        runs.append("bad")
        if runs.count("bad") == 1:
            raise ConnectionError("no")
        return {"total": 5}

    builder = StateGraph(State)
    builder.add_node(good).add_node(bad).add_edge(START, "good").add_edge(START, "bad")
    graph = builder.add_edge(["good", "bad"], END).compile(name="refusing")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"lines": []}, config)
        before = await state_and_history(client, config)
        with pytest.raises(ReducerError):
            await client.aupdate_state(config, {"total": -1}, as_node="bad")
        assert await state_and_history(client, config) == before
        assert await client.ainvoke(None, config) == {"lines": ["good"], "total": 5}
        assert sorted(runs) == ["bad", "bad", "good"]


async def test_a_checkpoint_has_the_outcomes_of_its_tasks_from_later_runs(stage: Stage) -> None:
    """A task has its error until it runs again, then its result; a refused command in between changes nothing."""
    fail = [True]

    def shaky(state: State) -> dict[str, Any]:
        if fail[0]:
            raise ConnectionError("no")
        return {"lines": ["done"]}

    graph = chain(State, {"first": lambda s: None, "shaky": shaky}, name="shaky")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        for input_data in ({"lines": []}, None):
            with pytest.raises(ConnectionError):
                await client.ainvoke(input_data, config)
        failed = await client.aget_state(config)
        assert (await client.aget_state(failed.config)).tasks[0].error == "ConnectionError('no')"
        with pytest.raises(ReducerError):
            await client.aupdate_state(config, {"total": -1}, as_node="human")
        fail[0] = False
        await client.ainvoke(None, config)
        history = [snapshot async for snapshot in client.aget_state_history(config)]
        assert history[1].tasks[0].result == {"lines": ["done"]}
        for snapshot in history:
            assert await client.aget_state(snapshot.config) == snapshot


async def test_of_many_replays_at_once_one_is_accepted(stage: Stage) -> None:
    """Of many replays at once, all but one are refused like any second writer, without waiting for the first."""
    graph = chain(State, {"node": lambda state: {"lines": ["ran"]}}, name="replayed")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"lines": []}, config)
        first = [s async for s in client.aget_state_history(config)][1]
        results = await asyncio.gather(*(client.ainvoke(None, first.config) for _ in range(12)), return_exceptions=True)
        accepted = [result for result in results if isinstance(result, dict)]
        assert accepted == [{"lines": ["ran"], "total": 0}] * len(accepted) != []
        assert len(accepted) + sum(isinstance(result, ThreadBusyError) for result in results) == 12
        assert len(await stage.runs(config["configurable"]["thread_id"])) == len(accepted) + 1
