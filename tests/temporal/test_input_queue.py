"""The input queue: inputs for a running thread are kept in Temporal, and begin one after the other."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph import interrupt
from stepgraph.client import GraphClient
from stepgraph.errors import InvalidInputError, RunEndedError, ServerError, ThreadBusyError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import WAIT_UNTIL_IDLE
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain
from tests.temporal.web_ui import details_page

pytestmark = pytest.mark.usefixtures("frequent_heartbeats")


class Log(TypedDict):
    lines: Annotated[list[str], add]


class Gate:
    """A graph with one node, which records the line that it begins, and then waits until the gate is opened."""

    def __init__(self, name: str) -> None:
        self.begun: list[str] = []
        self._open = asyncio.Event()
        self.graph: CompiledGraph = chain(Log, {"node": self._node}, name=name)

    async def _node(self, state: Log) -> dict[str, Any]:
        line = state["lines"][-1]
        self.begun.append(line)
        await self._open.wait()
        if line.startswith("bad"):
            raise ConnectionError(line)
        if line.startswith("ask") and interrupt({"line": line}) is None:
            return {}
        return {"lines": [line.upper()]}

    async def has_begun(self, line: str) -> None:
        """Wait until the node has begun that line."""
        await eventually(lambda: line in self.begun)

    def open(self) -> None:
        """Let the node finish this line and all later ones."""
        self._open.set()


async def enqueue(client: GraphClient, config: dict[str, Any], *lines: str, **options: Any) -> list[Any]:
    """Start with the first line, and queue the others. Return their runs."""
    options = {"on_busy": "enqueue", **options}
    return [await client.astart({"lines": [line]}, config, **options) for line in lines]


async def test_inputs_begin_in_the_order_in_which_they_came(stage: Stage) -> None:
    """Each input has its own run, and its caller gets the values at the end of that run, whatever comes later."""
    gate = Gate("line")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        runs = await enqueue(client, config, "a", "b", "c", "d")
        await gate.has_begun("a")
        gate.open()
        results = await asyncio.gather(*(run.result() for run in runs))
        ends = ["a", "A", "b", "B", "c", "C", "d", "D"]
        assert [result["lines"] for result in results] == [ends[: 2 * n] for n in (1, 2, 3, 4)]
        assert [result["lines"] for result in [await run.result() for run in runs]] == [
            ends[: 2 * n] for n in (1, 2, 3, 4)
        ]
        history = [s async for s in client.aget_state_history(config)]
        assert [s.metadata["step"] for s in history if s.metadata] == list(range(11, -1, -1))
        thread_runs = await stage.runs(config["configurable"]["thread_id"])
        assert [run.status.name for run in thread_runs] == ["COMPLETED"] + ["CONTINUED_AS_NEW"] * 3
        assert [run.run_id for run in reversed(thread_runs)] == [run.run_id for run in runs]


async def test_several_callers_may_wait_for_one_queued_input(stage: Stage) -> None:
    """Callers of a queued input may wait and watch before its run exists; each gets the steps of that run only."""
    gate = Gate("watched")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        runs = await enqueue(client, config, *"abcd")
        await gate.has_begun("a")

        async def steps(run: Any) -> list[Any]:
            return [snapshot.metadata["step"] async for snapshot in run.watch()]

        callers = [asyncio.gather(run.result(), run.result(), steps(run)) for run in runs]
        gate.open()
        for n, each in enumerate(callers):
            ends = [end for line in "abcd"[: n + 1] for end in (line, line.upper())]
            assert await each == [{"lines": ends}, {"lines": ends}, [3 * n, 3 * n + 1, 3 * n + 2]]


async def test_a_caller_of_a_queued_input_tries_again_after_an_outage(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the server is told once; the same run object has the result when the server is back."""
    gate = Gate("outage")
    client, config = stage.use(gate.graph), stage.thread()
    service = stage.client.workflow_service

    async def unavailable(*args: Any, **options: Any) -> Any:
        raise RPCError("transport error", RPCStatusCode.UNAVAILABLE, b"")

    async with stage.serving(gate.graph):
        _, queued = await enqueue(client, config, "a", "b")
        await gate.has_begun("a")
        with monkeypatch.context() as outage:
            outage.setattr(service, "describe_workflow_execution", unavailable)
            with pytest.raises(ServerError):
                await queued.result()
        gate.open()
        assert (await queued.result())["lines"] == ["a", "A", "b", "B"]


async def test_nobody_follows_the_thread_for_callers_that_have_gone(stage: Stage) -> None:
    """A queued input whose callers are all cancelled is followed no longer; the next caller gets its result."""
    gate = Gate("gone")
    client, config = stage.use(gate.graph), stage.thread()

    def followers() -> list[Any]:
        return [task for task in asyncio.all_tasks() if "QueuedRun." in repr(task.get_coro())]

    async with stage.serving(gate.graph):
        _, queued = await enqueue(client, config, "a", "b")
        await gate.has_begun("a")
        first, second = (asyncio.ensure_future(queued.record()) for _ in range(2))
        await eventually(lambda: len(followers()) == 3)
        first.cancel()
        await asyncio.wait([first])
        assert len(followers()) == 2, "the second caller and what follows the thread"
        second.cancel()
        await eventually(lambda: not followers())
        gate.open()
        assert (await queued.result())["lines"] == ["a", "A", "b", "B"]


async def test_queued_inputs_need_no_client_that_waits(stage: Stage) -> None:
    """Inputs of a client that has gone, and of an operator's signal, are kept in Temporal."""
    gate = Gate("unattended")
    client, config = stage.use(gate.graph), stage.thread()
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    async with stage.serving(gate.graph):
        await client.astart({"lines": ["a"]}, config)
        await gate.has_begun("a")
        invoking = asyncio.ensure_future(client.ainvoke({"lines": ["b"]}, config, on_busy="enqueue"))

        async def is_queued() -> bool:
            return "Queued inputs: 1" in await details_page(stage, config)

        await eventually(is_queued)
        invoking.cancel()
        await handle.signal("invoke", {"input": {"lines": ["c"]}})
        await handle.signal("invoke", {"input": {"limes": ["c"]}})
        gate.open()
        run = await client.aget_run(config)
        assert run is not None
        await gate.has_begun("c")

        async def has_finished() -> bool:
            return (await client.aget_state(config)).values["lines"][-1] == "C"

        await eventually(has_finished)
        assert (await client.aget_state(config)).values["lines"] == ["a", "A", "b", "B", "c", "C"]


async def test_a_failed_input_does_not_stop_the_queue(stage: Stage) -> None:
    """The caller of a failed input gets the error. The next input begins, and discards the pending tasks."""
    gate = Gate("failing")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        first, second, third = await enqueue(client, config, "bad a", "b", "bad c")
        await gate.has_begun("bad a")
        gate.open()
        with pytest.raises(ConnectionError, match="bad a"):
            await first.result()
        assert (await second.result())["lines"] == ["bad a", "b", "B"]
        with pytest.raises(ConnectionError, match="bad c"):
            await third.result()
        history = [s async for s in client.aget_state_history(config)]
        assert [s.tasks[0].error for s in history if s.tasks and s.tasks[0].error] == [
            "ConnectionError('bad c')",
            "ConnectionError('bad a')",
        ]
        thread_runs = await stage.runs(config["configurable"]["thread_id"])
        assert [run.status.name for run in thread_runs] == ["FAILED", "CONTINUED_AS_NEW", "CONTINUED_AS_NEW"]


async def test_a_queued_input_discards_the_interrupt_before_it(stage: Stage) -> None:
    """A queued input begins although the thread waits at an interrupt, which the caller of the input before has got."""
    gate = Gate("asking")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        first, second = await enqueue(client, config, "ask a", "b")
        await gate.has_begun("ask a")
        gate.open()
        waiting = await first.result()
        assert [each.value for each in waiting["__interrupt__"]] == [{"line": "ask a"}]
        assert await second.result() == {"lines": ["ask a", "b", "B"]}
        third = await client.ainvoke({"lines": ["ask c"]}, config)
        assert third["__interrupt__"]
        assert await client.ainvoke({"lines": ["d"]}, config, on_busy="enqueue") == {
            "lines": ["ask a", "b", "B", "ask c", "d", "D"]
        }


@pytest.mark.parametrize("how", ["terminate", "cancel"])
async def test_a_run_ended_from_outside_ends_its_input_queue(stage: Stage, how: str) -> None:
    """After Temporal's terminate or cancel, every caller gets an error, and the thread can be resumed."""
    gate = Gate("ended")
    client, config = stage.use(gate.graph), stage.thread()
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    async with stage.serving(gate.graph):
        runs = await enqueue(client, config, "a", "b", "c")
        await gate.has_begun("a")
        waiting = [asyncio.ensure_future(run.result()) for run in runs]

        async def has_waiting_caller() -> bool:
            return WAIT_UNTIL_IDLE in await stage.accepted_updates(runs[0].thread_id, runs[0].run_id)

        await eventually(has_waiting_caller)
        await getattr(handle, how)()
        for ended in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(ended, RunEndedError)
            assert ended.status == {"terminate": "terminated", "cancel": "cancelled"}[how]
        gate.open()
        assert await client.ainvoke(None, config) == {"lines": ["a", "A"]}


async def test_an_input_that_cancels_the_running_nodes_begins_next(stage: Stage) -> None:
    """An input that cancels the running nodes begins before the queued inputs, which keep their order."""
    gate = Gate("urgent")
    client, config = stage.use(gate.graph), stage.thread()
    async with stage.serving(gate.graph):
        first, second = await enqueue(client, config, "a", "b")
        await gate.has_begun("a")
        (urgent,) = await enqueue(client, config, "now", on_busy="cancel")
        assert await first.result() == {"lines": ["a"]}
        await gate.has_begun("now")
        gate.open()
        assert await urgent.result() == {"lines": ["a", "now", "NOW"]}
        assert await second.result() == {"lines": ["a", "now", "NOW", "b", "B"]}


async def test_the_input_queue_is_limited(stage: Stage) -> None:
    """The input queue has limits of number and of bytes. An input that does not fit the state is not queued."""
    gate = Gate("full")
    client, config = stage.use(gate.graph), stage.thread()
    plain = GraphClient(stage.client, "full", task_queue=stage.task_queue)
    async with stage.serving(gate.graph):
        await client.astart({"lines": ["a"]}, config)
        await gate.has_begun("a")
        with pytest.raises(ThreadBusyError, match="100,000 bytes"):
            await client.ainvoke({"lines": ["x" * 100_000]}, config, on_busy="enqueue")
        with pytest.raises(InvalidInputError, match="'limes'"):
            await plain.ainvoke({"limes": []}, config, on_busy="enqueue")
        runs = await enqueue(client, config, *(str(n) for n in range(100)))
        with pytest.raises(ThreadBusyError, match="100 inputs are queued already"):
            await client.ainvoke({"lines": ["one more"]}, config, on_busy="enqueue")
        await stage.client.get_workflow_handle(config["configurable"]["thread_id"]).terminate()
        with pytest.raises(RunEndedError):
            await runs[-1].result()


async def test_the_input_queue_survives_continue_as_new(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queued inputs go from run to run. A run that began with one may continue as new, too."""
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_STEPS", "2")
    go_on = asyncio.Event()

    async def node(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return {"lines": [f"{state['lines'][-1]}+"]}

    graph = chain(Log, {"one": node, "two": node, "three": node}, name="grown")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        runs = await enqueue(client, config, "a", "b", "c")
        go_on.set()
        results = [(await run.result())["lines"] for run in runs]
        lines = [f"{line}{'+' * n}" for line in "abc" for n in range(4)]
        assert results == [lines[:4], lines[:8], lines]
        statuses = [run.status for run in await stage.runs(config["configurable"]["thread_id"])]
        assert statuses.count(WorkflowExecutionStatus.CONTINUED_AS_NEW) > 2


async def test_no_update_is_accepted_while_a_run_opens_even_if_an_input_cancels_its_nodes(stage: Stage) -> None:
    """A signal may queue such an input before the thread is open, when an update cannot be checked yet."""
    gate = Gate("opening")
    gate.open()
    stage.use(gate.graph)
    config = stage.thread()
    handle = await stage.client.start_workflow(
        gate.graph.name,
        args=[{"lines": ["a"]}],
        id=config["configurable"]["thread_id"],
        task_queue=stage.task_queue,
        start_signal="invoke",
        start_signal_args=[{"input": {"lines": ["b"]}, "on_busy": "cancel"}],
    )
    update = asyncio.ensure_future(handle.execute_update("invoke", {"input": {"nope": 7}, "on_busy": "enqueue"}))
    await asyncio.sleep(0.5)  # the update then waits for the first workflow task; a later one is refused as well
    async with stage.serving(gate.graph):
        with pytest.raises(WorkflowUpdateFailedError):
            await update
        client = GraphClient(stage.client, gate.graph.name, task_queue=stage.task_queue)

        async def is_done() -> bool:
            state = await client.aget_state(config)
            return state.values.get("lines", [])[-1:] == ["B"]

        await eventually(is_done)
