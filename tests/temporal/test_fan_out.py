"""Super-steps with many tasks: how many tasks are in flight, and continue-as-new in the middle of a super-step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.client import WorkflowFailureError

from stepgraph import Command, GraphRun, interrupt
from stepgraph.errors import NodeError, PayloadTooLargeError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import UPDATE_STATE
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import side_by_side

IN_FLIGHT = 5
TASKS_PER_RUN = 20
WIDTH = 60


class Log(TypedDict, total=False):
    log: Annotated[list[str], add]
    notes: Annotated[list[str], add]


@pytest.fixture(autouse=True)
def small_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run few tasks at once, and few in a run."""
    monkeypatch.setenv("STEPGRAPH_TASKS_IN_FLIGHT", str(IN_FLIGHT))
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_TASKS", str(TASKS_PER_RUN))


class Nodes:
    """The nodes of a wide graph, which count their calls. Some may do more than to write their name."""

    def __init__(self, special: dict[int, Callable[[], Any]] | None = None, *, stops_at: int | None = None) -> None:
        self.calls: Counter[str] = Counter()
        self.most_at_once = 0
        self.go_on = asyncio.Event()
        self.graph = self._graph(special or {}, stops_at)
        self._running = 0

    def _graph(self, special: dict[int, Callable[[], Any]], stops_at: int | None) -> CompiledGraph:
        def node(number: int) -> Callable[[Log], Any]:
            async def write_name(state: Log) -> dict[str, Any]:
                name = f"n{number:02}"
                self.calls[name] += 1
                self._running += 1
                self.most_at_once = max(self.most_at_once, self._running)
                try:
                    if stops_at is not None and len(self.calls) > stops_at:
                        await self.go_on.wait()
                    await eventually(lambda: self.most_at_once >= IN_FLIGHT)
                    if number in special:
                        special[number]()
                finally:
                    self._running -= 1
                return {"log": [name]}

            return write_name

        nodes = {f"n{number:02}": node(number) for number in range(WIDTH)}
        return side_by_side(Log, nodes, lambda state: {"log": ["last"]}, name="wide")

    @property
    def names(self) -> list[str]:
        """The names of the nodes, in the order in which their writes are applied."""
        return [f"n{number:02}" for number in range(WIDTH)]

    def called_once(self, *, besides: tuple[str, ...] = ()) -> bool:
        """Whether every node was called once; some may have been called twice."""
        return self.calls == Counter(self.names) + Counter(besides)


def thread_of(config: dict[str, Any]) -> str:
    return str(config["configurable"]["thread_id"])


async def test_a_wide_super_step_runs_a_few_tasks_at_once_and_goes_on_in_the_next_run(stage: Stage) -> None:
    """Sixty tasks need several runs; each task runs once, and their super-step has one checkpoint."""
    nodes = Nodes()
    client, config = stage.use(nodes.graph), stage.thread()
    async with stage.serving(nodes.graph):
        assert (await client.ainvoke({"log": ["input"]}, config))["log"] == ["input", *nodes.names, "last"]
        history = [each async for each in client.aget_state_history(config)]
        runs = await stage.runs(thread_of(config))
    assert nodes.called_once()
    assert nodes.most_at_once == IN_FLIGHT
    assert len(runs) > WIDTH // TASKS_PER_RUN
    assert [each.metadata["step"] for each in history if each.metadata] == [3, 2, 1, 0]
    assert all(task.result == {"log": [task.name]} for task in history[2].tasks)


async def test_failures_and_interrupts_of_siblings_go_from_run_to_run(stage: Stage) -> None:
    """A task that failed in the first run fails the last one, when its siblings have run; a resume runs it again."""
    broken = [True]

    def fail() -> None:
        if broken:
            raise ConnectionError("no route")

    nodes = Nodes({3: fail, 4: lambda: interrupt("well?")})
    client, config = stage.use(nodes.graph), stage.thread()
    async with stage.serving(nodes.graph):
        with pytest.raises(NodeError, match="'n03'.*no route"):
            await client.ainvoke({"log": []}, config)
        failed = await client.aget_state(config)
        assert len(await stage.runs(thread_of(config))) == WIDTH // TASKS_PER_RUN
        assert nodes.called_once()
        assert failed.next == ("n03", "n04")
        assert [pending.value for pending in failed.interrupts] == ["well?"]
        broken.clear()
        waiting = await client.ainvoke(None, config)
        assert [pending.value for pending in waiting["__interrupt__"]] == ["well?"]
        assert (await client.ainvoke(Command(resume="yes"), config))["log"] == [*nodes.names, "last"]
    assert nodes.called_once(besides=("n03", "n04"))


async def test_updates_that_arrive_meanwhile_wait_for_the_end_of_the_super_step(stage: Stage) -> None:
    """One comes by signal, and crosses to the next runs; one as an update, which its client sends again."""
    nodes = Nodes(stops_at=10)
    client, config = stage.use(nodes.graph), stage.thread()
    handle = stage.client.get_workflow_handle(thread_of(config))
    async with stage.serving(nodes.graph):
        result = asyncio.ensure_future(client.ainvoke({"log": []}, config))
        await eventually(lambda: len(nodes.calls) > 10)
        signal = {"values": {"notes": ["by signal"]}, "as_node": "human"}
        await handle.signal(UPDATE_STATE, signal)
        updated = asyncio.ensure_future(client.aupdate_state(config, {"notes": ["by update"]}, as_node="human"))
        await eventually(lambda: _accepted(stage, config))
        nodes.go_on.set()
        assert (await result)["log"] == [*nodes.names, "last"]
        await updated
        values = (await client.aget_state(config)).values
        history = [each async for each in client.aget_state_history(config)]
    assert values["notes"] == ["by signal", "by update"]
    assert nodes.called_once()
    sources = [each.metadata["source"] for each in reversed(history) if each.metadata]
    assert sources[:4] == ["input", "loop", "loop", "update"]  # no update before the super-step had its checkpoint


async def _accepted(stage: Stage, config: dict[str, Any]) -> bool:
    return UPDATE_STATE in await stage.accepted_updates(thread_of(config))


async def test_an_input_that_cancels_stops_the_super_step_in_a_later_run(stage: Stage) -> None:
    """The tasks in flight are cancelled, no further one starts, and the thread goes on with the new input."""
    nodes = Nodes(stops_at=30)
    client, config = stage.use(nodes.graph), stage.thread()
    async with stage.serving(nodes.graph):
        first = asyncio.ensure_future(client.ainvoke({"log": ["first"]}, config))
        await eventually(lambda: len(nodes.calls) > 30)
        second = asyncio.ensure_future(client.ainvoke({"log": ["second"]}, config, on_busy="cancel"))
        await eventually(lambda: second.done() or nodes.calls.total() > len(nodes.calls))
        nodes.go_on.set()
        assert (await second)["log"] == ["first", "second", *nodes.names, "last"]
        await asyncio.gather(first, return_exceptions=True)


async def test_a_worker_that_stops_in_the_middle_loses_only_tasks_in_flight(stage: Stage) -> None:
    """Another worker goes on in the run that the tasks before have reached; finished tasks do not run again."""
    nodes = Nodes(stops_at=30)
    client, config = stage.use(nodes.graph), stage.thread()
    async with stage.serving(nodes.graph):
        result = asyncio.ensure_future(client.ainvoke({"log": []}, config))
        await eventually(lambda: len(nodes.calls) > 30)
    nodes.go_on.set()
    async with stage.serving(nodes.graph):
        assert (await result)["log"] == [*nodes.names, "last"]
    assert set(nodes.calls) == set(nodes.names)
    assert nodes.calls.total() <= WIDTH + 2 * IN_FLIGHT


async def test_a_run_cancelled_in_the_middle_keeps_the_results_of_all_its_runs(stage: Stage) -> None:
    """A resume runs the tasks that have not finished, and no other."""
    nodes = Nodes(stops_at=30)
    client, config = stage.use(nodes.graph), stage.thread()
    async with stage.serving(nodes.graph):
        run = await client.astart({"log": []}, config)
        await eventually(lambda: len(nodes.calls) > 30)
        await stage.client.get_workflow_handle(thread_of(config)).cancel()
        await _ended(stage, run)
        nodes.go_on.set()
        assert (await client.ainvoke(None, config))["log"] == [*nodes.names, "last"]
    assert nodes.calls.total() <= WIDTH + IN_FLIGHT


async def _ended(stage: Stage, run: GraphRun) -> None:
    with pytest.raises(WorkflowFailureError):
        await stage.client.get_workflow_handle(run.thread_id).result()


def longest(left: str, right: str) -> str:
    """A reducer of the graph's own whose results are larger than its value."""
    return max(left, right, key=len)


class Text(TypedDict, total=False):
    text: Annotated[str, longest]


async def test_results_that_do_not_fit_into_the_next_run_keep_the_super_step_in_this_one(stage: Stage) -> None:
    """Without external storage, 80 KB of each of sixty tasks exceed what continue-as-new carries. None runs again."""
    calls: Counter[int] = Counter()

    def node(number: int) -> Callable[[Text], Any]:
        def write(state: Text) -> dict[str, Any]:
            calls[number] += 1
            return {"text": "x" * (80_000 + number)}

        return write

    nodes = {f"n{number:02}": node(number) for number in range(WIDTH)}
    graph = side_by_side(Text, nodes, lambda state: {"text": ""}, name="heavy")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        result = await client.ainvoke({"text": ""}, config)
        runs = await stage.runs(thread_of(config))
    assert len(result["text"]) == 80_000 + WIDTH - 1
    assert calls == Counter(range(WIDTH))
    assert len(runs) > 1


async def test_a_super_step_that_is_refused_for_its_size_can_be_read(stage: Stage) -> None:
    """Without external storage, thirty tasks of 1 MB make no state. Their results are shown, in pages."""
    nodes = {f"n{number:02}": (lambda state: {"log": ["x" * 1_000_000]}) for number in range(30)}
    graph = side_by_side(Log, nodes, lambda state: {}, name="thirty")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(PayloadTooLargeError, match="STEPGRAPH_STORAGE"):
            await client.ainvoke({"log": []}, config)
        head = await client.aget_state(config)
        history = [each async for each in client.aget_state_history(config)]
    assert head.values == {"log": [], "notes": []}
    assert head.next == tuple(nodes)
    assert [len(task.result["log"][0]) for task in head.tasks] == [1_000_000] * 30
    assert [each.metadata["step"] for each in history if each.metadata] == [1, 0]


async def test_failures_that_do_not_fit_into_the_next_run_keep_the_super_step_in_this_one(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    """Beside a large state a record keeps a hundred failures. The tasks that failed besides do not run again."""
    width, calls = 200, Counter[int]()
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_TASKS", "180")

    def node(number: int) -> Callable[[Log], Any]:
        def fail(state: Log) -> None:
            calls[number] += 1
            raise ConnectionError("\N{PARTY POPPER}" * 500)

        return fail

    graph = side_by_side(Log, {f"n{number:03}": node(number) for number in range(width)}, lambda state: {}, name="many")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(NodeError, match="'n000'"):
            await client.ainvoke({"log": ["x" * 1_650_000]}, config)
        head = await client.aget_state(config)
        assert len(await stage.runs(thread_of(config))) == 1
    assert calls == Counter(range(width))
    assert len(head.next) == width
