"""Inputs for a thread that is running wait in line inside Temporal, and begin one after the other."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.client import WorkflowExecutionStatus

from stepgraph import interrupt
from stepgraph.client import GraphClient
from stepgraph.errors import InvalidInputError, RunEndedError, ThreadBusyError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.temporal.graphs import chain


class Log(TypedDict):
    lines: Annotated[list[str], add]


class Gate:
    """A graph whose one node says which line it is at, and waits to be let go on."""

    def __init__(self, name: str) -> None:
        self.begun: list[str] = []
        self._open = asyncio.Event()
        self.graph: CompiledGraph = chain(Log, {"node": self._node}, name=name, heartbeat_timeout=0.6)

    async def _node(self, state: Log) -> dict[str, Any]:
        line = state["lines"][-1]
        self.begun.append(line)
        await self._open.wait()
        if line.startswith("bad"):
            raise ConnectionError(line)
        if line.startswith("ask") and interrupt({"line": line}) is None:
            return {}
        return {"lines": [line.upper()]}

    async def at(self, line: str) -> None:
        """Until the node is at that line."""
        while line not in self.begun:
            await asyncio.sleep(0.02)

    def open(self) -> None:
        """Lets the node go on, here and ever after."""
        self._open.set()


async def in_line(client: GraphClient, config: dict[str, Any], *lines: str, **options: Any) -> list[Any]:
    """Starts with the first line, and puts the others in line; their runs."""
    options = {"on_busy": "enqueue", **options}
    return [await client.astart({"lines": [line]}, config, **options) for line in lines]


async def test_inputs_begin_in_the_order_in_which_they_came(stage: Stage) -> None:
    """Each in a run of its own; each caller gets the values at the end of its own input, whoever comes after."""
    gate = Gate("line")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        runs = await in_line(client, config, "a", "b", "c", "d")
        await gate.at("a")
        gate.open()
        results = await asyncio.gather(*(run.result() for run in runs))
        ends = ["a", "A", "b", "B", "c", "C", "d", "D"]
        assert [result["lines"] for result in results] == [ends[: 2 * n] for n in (1, 2, 3, 4)]
        assert [result["lines"] for result in [await run.result() for run in runs]] == [
            ends[: 2 * n] for n in (1, 2, 3, 4)
        ]
        history = [s async for s in client.aget_state_history(config)]
        assert [s.metadata["step"] for s in history if s.metadata] == list(range(11, -1, -1))
        of_thread = await stage.runs(config["configurable"]["thread_id"])
        assert [run.status.name for run in of_thread] == ["COMPLETED"] + ["CONTINUED_AS_NEW"] * 3
        assert [run.run_id for run in reversed(of_thread)] == [run.run_id for run in runs]


async def test_any_number_may_wait_for_one_turn(stage: Stage) -> None:
    """And watch: each sees the steps of the input's own run; what they ask meets runs that are not ready yet."""
    gate = Gate("watched")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        runs = await in_line(client, config, *"abcd")
        await gate.at("a")

        async def steps(run: Any) -> list[Any]:
            return [snapshot.metadata["step"] async for snapshot in run.watch()]

        followed = [asyncio.gather(run.result(), run.result(), steps(run)) for run in runs]
        gate.open()
        for n, each in enumerate(followed):
            ends = [end for line in "abcd"[: n + 1] for end in (line, line.upper())]
            assert await each == [{"lines": ends}, {"lines": ends}, [3 * n, 3 * n + 1, 3 * n + 2]]


async def test_the_line_needs_nobody_who_waits(stage: Stage) -> None:
    """A client that went away, or an operator's signal: what is in line is in Temporal."""
    gate = Gate("alone")
    client, config = stage.use(gate.graph), stage.thread()
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    async with stage.serving(gate.graph):
        await client.astart({"lines": ["a"]}, config)
        await gate.at("a")
        going = asyncio.ensure_future(client.ainvoke({"lines": ["b"]}, config, on_busy="enqueue"))
        while "wait in line: 1" not in await page(stage, config):
            await asyncio.sleep(0.05)
        going.cancel()
        await handle.signal("invoke", {"input": {"lines": ["c"]}})
        await handle.signal("invoke", {"input": {"limes": ["c"]}})
        gate.open()
        run = await client.aget_run(config)
        assert run is not None
        await gate.at("c")
        while (state := await client.aget_state(config)).values["lines"][-1] != "C":
            await asyncio.sleep(0.05)
        assert state.values["lines"] == ["a", "A", "b", "B", "c", "C"]


async def page(stage: Stage, config: dict[str, Any]) -> str:
    """What the Web UI shows of a thread."""
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    answer = await handle.query("__temporal_workflow_metadata")
    return str(answer.get("currentDetails", "") if isinstance(answer, dict) else answer.current_details)


async def test_a_failure_is_its_callers_alone(stage: Stage) -> None:
    """The next input begins, and discards what was pending, as ever; the error is in the history, too."""
    gate = Gate("failing")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        first, second, third = await in_line(client, config, "bad a", "b", "bad c")
        await gate.at("bad a")
        gate.open()
        with pytest.raises(ConnectionError, match="bad a"):
            await first.result()
        assert (await second.result())["lines"] == ["bad a", "b", "B"]
        with pytest.raises(ConnectionError, match="bad c"):
            await third.result()
        history = [s async for s in client.aget_state_history(config)]
        assert [s.tasks[0].error for s in history if s.tasks and s.tasks[0].error] == [
            "ConnectionError: bad c",
            "ConnectionError: bad a",
        ]
        of_thread = await stage.runs(config["configurable"]["thread_id"])
        assert [run.status.name for run in of_thread] == ["FAILED", "CONTINUED_AS_NEW", "CONTINUED_AS_NEW"]


async def test_a_question_is_told_and_the_next_input_discards_it(stage: Stage) -> None:
    """As any input does on a thread that waits."""
    gate = Gate("asking")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        first, second = await in_line(client, config, "ask a", "b")
        await gate.at("ask a")
        gate.open()
        asked = await first.result()
        assert [each.value for each in asked["__interrupt__"]] == [{"line": "ask a"}]
        assert await second.result() == {"lines": ["ask a", "b", "B"]}
        third = await client.ainvoke({"lines": ["ask c"]}, config)
        assert third["__interrupt__"]
        assert await client.ainvoke({"lines": ["d"]}, config, on_busy="enqueue") == {
            "lines": ["ask a", "b", "B", "ask c", "d", "D"]
        }


@pytest.mark.parametrize("how", ["terminate", "cancel"])
async def test_the_end_of_a_thread_is_the_end_of_its_line(stage: Stage, how: str) -> None:
    """By Temporal's terminate and cancel: everybody is told, and the thread can be resumed where it was."""
    gate = Gate("ended")
    client, config = stage.use(gate.graph), stage.thread()
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    async with stage.serving(gate.graph):
        runs = await in_line(client, config, "a", "b", "c")
        await gate.at("a")
        waiting = [asyncio.ensure_future(run.result()) for run in runs]
        await asyncio.sleep(0.3)
        await getattr(handle, how)()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, RunEndedError)
            assert ended.status == {"terminate": "terminated", "cancel": "cancelled"}[how]
        gate.open()
        assert await client.ainvoke(None, config) == {"lines": ["a", "A"]}


async def test_who_has_the_nodes_stopped_is_the_next(stage: Stage) -> None:
    """Before those in line, who keep their places."""
    gate = Gate("urgent")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        first, second = await in_line(client, config, "a", "b")
        await gate.at("a")
        (urgent,) = await in_line(client, config, "now", on_busy="cancel")
        assert await first.result() == {"lines": ["a"]}
        await gate.at("now")
        gate.open()
        assert await urgent.result() == {"lines": ["a", "now", "NOW"]}
        assert await second.result() == {"lines": ["a", "now", "NOW", "b", "B"]}


async def test_the_line_has_an_end(stage: Stage) -> None:
    """In number and in bytes; and what does not fit the state is refused before it is in line."""
    gate = Gate("full")
    client, config = stage.use(gate.graph), stage.thread()
    plain = GraphClient(stage.client, "full", task_queue=stage.task_queue)
    async with stage.serving(gate.graph):
        await client.astart({"lines": ["a"]}, config)
        await gate.at("a")
        with pytest.raises(ThreadBusyError, match="100,000 bytes"):
            await client.ainvoke({"lines": ["x" * 100_000]}, config, on_busy="enqueue")
        with pytest.raises(InvalidInputError, match="'limes'"):
            await plain.ainvoke({"limes": []}, config, on_busy="enqueue")
        runs = await in_line(client, config, *(str(n) for n in range(100)))
        with pytest.raises(ThreadBusyError, match="100 inputs wait in line already"):
            await client.ainvoke({"lines": ["one more"]}, config, on_busy="enqueue")
        await stage.client.get_workflow_handle(config["configurable"]["thread_id"]).terminate()
        with pytest.raises(RunEndedError):
            await runs[-1].result()


async def test_the_line_goes_along_when_a_run_grows_long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the run that began with a queued input may itself grow long."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "2")
    go_on = asyncio.Event()

    async def node(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return {"lines": [f"{state['lines'][-1]}+"]}

    graph = chain(Log, {"one": node, "two": node, "three": node}, name="grown")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        runs = await in_line(client, config, "a", "b", "c")
        go_on.set()
        results = [(await run.result())["lines"] for run in runs]
        lines = [f"{line}{'+' * n}" for line in "abc" for n in range(4)]
        assert results == [lines[:4], lines[:8], lines]
        statuses = [run.status for run in await stage.runs(config["configurable"]["thread_id"])]
        assert statuses.count(WorkflowExecutionStatus.CONTINUED_AS_NEW) > 2
