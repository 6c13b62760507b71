"""A command whose answer is lost is sent again, and taken once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from stepgraph import Command, GraphClient, interrupt
from stepgraph.errors import InvalidUpdateError, ThreadBusyError
from stepgraph.temporal.executions import latest_run
from stepgraph.temporal.payloads import from_raw, to_raw
from tests.conftest import Stage
from tests.patience import PATIENCE, eventually
from tests.temporal.graphs import chain, side_by_side

pytestmark = pytest.mark.usefixtures("frequent_heartbeats")


class Log(TypedDict):
    lines: Annotated[list[str], add]
    total: int


def echo(state: Log) -> dict[str, Any]:
    """Write the last line in capitals."""
    return {"lines": [state["lines"][-1].upper()]}


def ask(state: Log) -> dict[str, Any]:
    """Write what a person answers."""
    return {"lines": [interrupt("sure?")]}


async def send(stage: Stage, config: dict[str, Any], update: str, payload: dict[str, Any], *, id: str) -> Any:
    """Send an update under an id, as a client does whose answer was lost; return the answer."""
    handle = stage.client.get_workflow_handle(config["configurable"]["thread_id"])
    return from_raw(await handle.execute_update(update, to_raw(payload), id=id, result_type=RawValue))


async def next_run(stage: Stage, config: dict[str, Any]) -> None:
    """Terminate the thread's open run, and have another begin where it was."""
    await stage.client.get_workflow_handle(config["configurable"]["thread_id"]).terminate()
    client = GraphClient(stage.client, "asking", task_queue=stage.task_queue)
    await client.ainvoke(None, config)


async def history(client: GraphClient, config: dict[str, Any]) -> list[Any]:
    """Return source and lines of each checkpoint, the oldest first."""
    snapshots = [snapshot async for snapshot in client.aget_state_history(config)]
    return [(each.metadata["source"], each.values.get("lines", [])) for each in reversed(snapshots) if each.metadata]


@pytest.mark.parametrize("on_busy", ["enqueue", "cancel"])
async def test_a_queued_input_is_taken_once_by_the_runs_of_a_chain(stage: Stage, on_busy: str) -> None:
    """The run that queues the input and the run that begins with it both answer for it, and neither takes it again."""
    go_on = {line: asyncio.Event() for line in "ab"}
    begun: list[str] = []

    async def wait(state: Log) -> dict[str, Any]:
        begun.append(state["lines"][-1])
        await go_on[begun[-1]].wait()
        return echo(state)

    graph = chain(Log, {"wait": wait}, name="chain")
    client, config = stage.use(graph), stage.thread()
    payload = {"input": {"lines": ["b"]}, "on_busy": on_busy}
    async with stage.serving(graph):
        first = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: begun)
        queued = await send(stage, config, "invoke", payload, id="b")
        assert (queued["queued_input_id"], queued["run_id"]) == ("b", first.run_id)
        if on_busy == "enqueue":
            go_on["a"].set()
        await eventually(lambda: "b" in begun)
        run = await client.aget_run(config)
        assert run is not None
        repeated = await send(stage, config, "invoke", payload, id="b")
        assert repeated["run_id"] == run.run_id != first.run_id
        go_on["b"].set()
        lines = (await run.result())["lines"]
        assert lines == (["a", "b", "B"] if on_busy == "cancel" else ["a", "A", "b", "B"])
        assert len(await stage.runs(run.thread_id)) == 2
        assert begun == ["a", "b"]


async def test_commands_are_taken_once_by_an_open_thread_and_by_its_next_run(stage: Stage) -> None:
    """An update, a fork, an answer and an input that are sent again change nothing, and get the first answer."""
    graph = chain(Log, {"ask": ask, "ask_again": ask}, name="asking")
    client, config = stage.use(graph), stage.thread()
    commands: list[tuple[str, dict[str, Any]]] = [
        ("update_state", {"values": {"lines": ["by hand"]}, "as_node": "human"}),
        ("fork", {"values": {"lines": ["forked"]}, "as_node": "human"}),
        ("invoke", {"input": {"lines": ["more"]}}),
        ("resume", {"resume": "yes"}),
    ]
    async with stage.serving(graph):
        await client.ainvoke({"lines": ["a"]}, config)
        answers = []
        for update, payload in commands:
            answers.append(await send(stage, config, update, payload, id=update))
            run = await client.aget_run(config)
            assert run is not None
            await run.result()
        before = await history(client, config)

        async def repeat() -> None:
            for answer, (update, payload) in zip(answers, commands, strict=True):
                assert await send(stage, config, update, payload, id=update) == answer

        await repeat()
        await next_run(stage, config)
        await repeat()
        assert await history(client, config) == before
        await client.ainvoke(Command(resume="done"), config)


def lose(times: int, call: Callable[..., Awaitable[Any]], *, after: Callable[[], Awaitable[object]]) -> Any:
    """Return an RPC that the server gets, and whose answer the client does not, the first ``times`` times."""
    left = times

    async def with_lost_answers(*args: Any, **options: Any) -> Any:
        nonlocal left
        answer = await call(*args, **options)
        if left:
            left -= 1
            await after()
            raise RPCError("transport error", RPCStatusCode.UNAVAILABLE, b"")
        return answer

    return with_lost_answers


@pytest.mark.parametrize("how", ["still running", "closed", "gone on"])
async def test_an_input_by_start_is_taken_once(stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """The client finds the run that it has started, whatever has become of the thread while the answer was lost."""
    go_on = asyncio.Event()

    async def wait(state: Log) -> dict[str, Any]:
        await go_on.wait()
        return echo(state)

    graph = chain(Log, {"wait": wait}, name="started")
    client, config = stage.use(graph), stage.thread()
    other = stage.use(graph)
    service = stage.client.workflow_service
    start = service.start_workflow_execution

    async def meanwhile() -> None:
        if how == "still running":
            return
        go_on.set()
        run = await other.aget_run(config)
        assert run is not None
        await run.result()
        if how == "gone on":
            monkeypatch.setattr(service, "start_workflow_execution", start)
            await other.ainvoke({"lines": ["b"]}, config, on_busy="enqueue")

    async with stage.serving(graph):
        monkeypatch.setattr(service, "start_workflow_execution", lose(1, start, after=meanwhile))
        run = await client.astart({"lines": ["a"]}, config, on_busy="enqueue")
        go_on.set()
        assert (await run.result())["lines"] == ["a", "A"]
        more = ["b", "B"] if how == "gone on" else []
        assert (await client.aget_state(config)).values["lines"] == ["a", "A", *more]
        assert len(await stage.runs(run.thread_id)) == 1 + bool(more)


async def test_an_update_of_a_closed_thread_is_taken_once(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """`update_state` returns the checkpoint that it made, though the answer to its start was lost."""
    graph = chain(Log, {"echo": echo}, name="closed")
    client, config = stage.use(graph), stage.thread()
    service = stage.client.workflow_service
    start = service.start_workflow_execution

    async def meanwhile() -> None:
        monkeypatch.setattr(service, "start_workflow_execution", start)
        run = await client.aget_run(config)
        assert run is not None
        await run.record()
        await client.aupdate_state(config, {"lines": ["another"]}, as_node="human")

    async with stage.serving(graph):
        await client.ainvoke({"lines": ["a"]}, config)
        monkeypatch.setattr(service, "start_workflow_execution", lose(1, start, after=meanwhile))
        updated = await client.aupdate_state(config, {"lines": ["mine"]}, as_node="human")
        assert (await client.aget_state(updated)).values["lines"] == ["a", "A", "mine"]
        assert (await client.aget_state(config)).values["lines"] == ["a", "A", "mine", "another"]


async def test_a_command_that_a_run_did_not_get_to_is_taken_by_the_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that fails at its commit leaves the updates in its queue; the client gives them to the next run.

    However long they waited in the queue, the client goes on: only the time in which a run refuses a command counts.
    """
    monkeypatch.setattr("stepgraph.client.command_sender.NOT_READY_SECONDS", 0.0)  # until the run has accepted them
    go_on = asyncio.Event()
    begun: list[str] = []

    async def write(state: Log) -> dict[str, Any]:
        begun.append("write")
        await go_on.wait()
        return {"total": 1}

    graph = side_by_side(Log, {"left": write, "right": write}, lambda state: None, name="clashing")
    client, config = stage.use(graph), stage.thread()

    async def accepted() -> int:
        return (await stage.accepted_updates(config["configurable"]["thread_id"])).count("update_state")

    async with stage.serving(graph):
        run = await client.astart({"lines": ["a"]}, config)
        await eventually(lambda: len(begun) == 2)
        updates = [
            asyncio.ensure_future(client.aupdate_state(config, {"lines": [str(n)]}, as_node="human")) for n in range(3)
        ]
        await eventually(lambda: _equals(accepted(), 3))
        monkeypatch.setattr("stepgraph.client.command_sender.NOT_READY_SECONDS", PATIENCE)
        go_on.set()
        with pytest.raises(InvalidUpdateError, match="total"):
            await run.result()
        await asyncio.gather(*updates)
        lines = (await client.aget_state(config)).values["lines"]
        assert lines[0] == "a"
        assert sorted(lines[1:]) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("is_lost", "message"), [(False, "This one was not applied"), (True, "was applied is not known")]
)
async def test_a_client_that_gives_up_says_whether_its_command_was_applied(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_lost: bool, message: str
) -> None:
    """A run that applies another command refuses this one for too long; what became of a lost request is not known."""
    monkeypatch.setattr("stepgraph.client.command_sender.NOT_READY_SECONDS", 0.0)
    folding, go_on = threading.Event(), threading.Event()

    def fold(left: list[str], right: list[str]) -> list[str]:
        if right == ["slow"]:
            folding.set()
            go_on.wait()
        return [*left, *right]

    state: Any = TypedDict("State", {"lines": Annotated[list[str], fold]})  # type: ignore[misc]
    graph = chain(state, {"ask": lambda state: ask(state)}, name="folding")
    client, config = stage.use(graph), stage.thread()
    service = stage.client.workflow_service
    async with stage.serving(graph):
        await client.ainvoke({"lines": ["a"]}, config)
        first = asyncio.ensure_future(client.aupdate_state(config, {"lines": ["slow"]}, as_node="human"))
        try:
            await eventually(folding.is_set)
            if is_lost:
                send = service.update_workflow_execution
                monkeypatch.setattr(service, "update_workflow_execution", lose_requests(1, send))
            with pytest.raises(ThreadBusyError, match=message):
                await client.aupdate_state(config, {"lines": ["mine"]}, as_node="human")
        finally:
            go_on.set()
        await first


def lose_requests(times: int, call: Callable[..., Awaitable[Any]]) -> Any:
    """Return an RPC that runs into its timeout before the server gets it, the first ``times`` times."""
    left = times

    async def with_lost_requests(*args: Any, **options: Any) -> Any:
        nonlocal left
        if left:
            left -= 1
            raise RPCError("timeout", RPCStatusCode.DEADLINE_EXCEEDED, b"")
        return await call(*args, **options)

    return with_lost_requests


async def _equals(value: Awaitable[Any], expected: Any) -> bool:
    return bool(await value == expected)


async def test_many_clients_whose_requests_are_repeated_double_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request to start or to update is sent twice, the second time later, as by the SDK after a lost answer."""
    graph = chain(Log, {"echo": echo}, name="repeated")
    client, config = stage.use(graph), stage.thread()
    service = stage.client.workflow_service

    def twice(call: Callable[..., Awaitable[Any]]) -> Any:
        async def call_twice(*args: Any, **options: Any) -> Any:
            first = await call(*args, **options)
            before = await latest_run(stage.client, config["configurable"]["thread_id"])
            for _ in range(20):  # until the thread has gone on, if it does
                latest = await latest_run(stage.client, config["configurable"]["thread_id"])
                if latest is None or before is None or latest.run_id != before.run_id or not latest.is_open:
                    break
                await asyncio.sleep(0.02)
            try:
                return await call(*args, **options)
            except RPCError as error:
                if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.RESOURCE_EXHAUSTED):
                    return first
                raise

        return call_twice

    monkeypatch.setattr(service, "update_workflow_execution", twice(service.update_workflow_execution))
    async with stage.serving(graph):

        async def one_client(name: int) -> list[list[str]]:
            return [
                (await client.ainvoke({"lines": [f"{name}.{n}"]}, config, on_busy="enqueue"))["lines"] for n in range(4)
            ]

        results = await asyncio.gather(*(one_client(name) for name in range(6)))
        lines = (await client.aget_state(config)).values["lines"]
        inputs = [f"{name}.{n}" for name in range(6) for n in range(4)]
        assert Counter(lines) == Counter([*inputs, *inputs])
        ends = {result[-1]: result for of_client in results for result in of_client}
        assert sorted(ends) == sorted(inputs)
        for line, result in ends.items():
            assert result == lines[: lines.index(line) + 2]
