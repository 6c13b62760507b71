"""Tests of a node that runs several times in one super-step, with an input of its own each time, and of its answers."""

from __future__ import annotations

from typing import Any

import pytest

from stepgraph import interrupt
from stepgraph.engine.checkpoint import SentTask, TaskResult
from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError, NodeError, PayloadTooLargeError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.commands import InvokeCommand, ResumeCommand, UpdateCommand
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.snapshot import StateSnapshot, snapshot_data, snapshot_from
from stepgraph.serde.sizes import PAYLOAD_LIMIT
from stepgraph.testing.memory_run import MemoryRun
from tests.core.test_tasks import CHANNELS, compiled, fanned_out, restored


class Work:
    """A node that records its calls, and fails or interrupts for the inputs that say so."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str]] = []
        self.failing: set[int] = set()
        self.asks = False

    def __call__(self, view: dict[str, int], config: dict[str, Any]) -> dict[str, Any]:
        number = view["n"]
        metadata = config["metadata"]
        assert metadata["idempotency_key"].endswith(f"/{metadata['task_id']}")
        self.calls.append((number, metadata["idempotency_key"]))
        if number in self.failing:
            raise ConnectionError(f"{number} is down")
        view["n"] = -1  # a node may change its input without consequences
        answer = interrupt(f"{number}?") if self.asks else number
        return {"log": [f"{answer}"], "words": [f"{answer}"]}


def in_memory(thread: Thread, graph: CompiledGraph) -> MemoryRun:
    """Return a run in memory that goes on from where a thread is."""

    async def read(request: ReadRequest) -> Record:
        raise AssertionError("the thread has one run")

    return MemoryRun(graph.registry, thread, {}, read=read)


async def test_each_task_runs_with_its_own_input() -> None:
    """The node gets the input in place of the state, and a key of its own; a custom reducer folds all in order."""
    work = Work()
    graph = compiled(work)
    run = in_memory(fanned_out(graph), graph)
    await run.command("invoke", InvokeCommand())
    assert run.thread.finished
    assert sorted(number for number, _ in work.calls) == [1, 1, 2]
    assert len({key for _, key in work.calls}) == 3
    assert dict(run.thread.state) == {"log": ["2", "1", "1"], "words": ["2", "1", "1"]}
    written = [{"log": [text], "words": [text]} for text in ("2", "1", "1")]
    assert head_snapshot_before(run.thread, "done").metadata == {
        "source": "loop",
        "step": 3,
        "writes": {"work": written, "aside": None},
    }


def head_snapshot_before(thread: Thread, *nodes: str) -> StateSnapshot:
    """Return the newest snapshot after which exactly these nodes run."""
    checkpoint = next(each for each in thread.newest_first() if each.nodes == nodes)
    return snapshot_from(snapshot_data(thread, checkpoint), CHANNELS)


async def test_a_resume_runs_only_the_task_that_failed() -> None:
    """With the input, and the key, that it had; also in another run, and after a virtual author's update."""
    work = Work()
    work.failing = {2}
    graph = compiled(work)
    run = in_memory(fanned_out(graph), graph)
    with pytest.raises(NodeError, match=r"Finished, and not run again: 'aside', 'work', 'work'\."):
        await run.command("invoke", InvokeCommand())
    ((_, key),) = [call for call in work.calls if call[0] == 2]
    work.failing = set()
    work.calls.clear()
    run = in_memory(restored(run.thread), graph)
    await run.command("update", UpdateCommand(values={"note": "x", "words": ["human"]}, as_node="human"))
    await run.command("invoke", InvokeCommand())
    assert work.calls == [(2, key)]
    assert run.thread.state["log"] == ["2", "1", "1"]
    assert run.thread.state["words"] == ["human", "2", "1", "1"]


async def test_each_task_waits_for_an_answer_of_its_own() -> None:
    """The ids of their interrupts differ, so that an answer says which of them is meant."""
    work = Work()
    work.asks = True
    graph = compiled(work)
    run = in_memory(fanned_out(graph), graph)
    await run.command("invoke", InvokeCommand())
    waiting = run.thread.waiting_interrupts
    assert [request.value for request in waiting] == ["2?", "1?", "1?"]
    assert len({request.id for request in waiting}) == 3
    await run.command("resume", ResumeCommand(resume={waiting[2].id: "third"}))
    assert run.thread.waiting_interrupts == waiting[:2]
    await run.command("resume", ResumeCommand(resume={waiting[0].id: "first", waiting[1].id: "second"}))
    assert run.thread.state["log"] == ["first", "second", "third"]


async def test_an_update_by_command_replaces_one_task() -> None:
    """`UpdateCommand.task_id` says which; its values are coerced and folded by the graph's code like a node's."""
    work = Work()
    graph = compiled(work)
    run = in_memory(fanned_out(graph), graph)
    second = run.thread.due()[2]
    by_hand: dict[str, Any] = {"values": {"log": ["by hand"], "words": ["by hand"]}, "as_node": "work"}
    with pytest.raises(InvalidUpdateError, match="Node 'work' is due 3 times at this checkpoint"):
        await run.command("update", UpdateCommand(**by_hand))
    assert run.thread.results == {}
    await run.command("update", UpdateCommand(**by_hand, task_id=second.id))
    assert set(run.thread.results) == {second.id}
    assert (await run.command("invoke", InvokeCommand()))["configurable"]["thread_id"] == "t1"
    assert sorted(number for number, _ in work.calls) == [1, 2]
    assert dict(run.thread.state) == {"log": ["2", "by hand", "1"], "words": ["2", "by hand", "1"]}
    with pytest.raises(InvalidUpdateError, match=f"no unfinished task '{second.id}'"):
        await run.command("update", UpdateCommand(**by_hand, task_id=second.id))


async def test_inputs_that_do_not_fit_beside_the_state_stop_the_thread() -> None:
    """They travel with the checkpoint. The error says so, and the thread stays where it was."""
    graph = compiled(Work())
    thread = fanned_out(graph)
    large = SentTask(node="work", input={"value": {"n": 1, "text": "x" * (PAYLOAD_LIMIT - 10_000)}})
    aside, *works = thread.due()
    for task in works:
        thread.finish(task, TaskResult())
    thread.finish(aside, TaskResult(writes=({"log": ["y" * 20_000]},), sends=(large,)))
    before = (thread.head, dict(thread.state))
    with pytest.raises(PayloadTooLargeError, match="The state of thread 't1' with the inputs of sent tasks"):
        thread.commit()
    assert (thread.head, dict(thread.state)) == before
