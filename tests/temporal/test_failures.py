"""Nodes, reducers and routers that fail, and what a thread keeps of the tasks beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, Command, RetryPolicy, StateGraph, interrupt
from stepgraph.engine.record import PENDING_LIMIT
from stepgraph.errors import (
    GraphRecursionError,
    InvalidUpdateError,
    MissingNodeError,
    NodeError,
    ReducerError,
    RunEndedError,
)
from stepgraph.temporal.executions import latest_run
from stepgraph.temporal.run_outcome import outcome_of
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import chain, side_by_side


class Words(TypedDict):
    words: Annotated[list[str], add]
    latest: str


def says(word: str, runs: list[str], fails: int = 0) -> Callable[[Words], dict[str, Any]]:
    """Return a node that writes a word, and fails the first times."""

    def node(state: Words) -> dict[str, Any]:
        runs.append(word)
        if runs.count(word) <= fails:
            raise OSError(f"{word} failed")
        return {"words": [word]}

    return node


async def test_a_finished_sibling_is_kept_and_not_run_again(stage: Stage) -> None:
    """A finished task has its result, which is also in the head's values. The checkpoint itself does not change."""
    runs: list[str] = []
    graph = side_by_side(
        Words, {"a": says("a", runs), "b": says("b", runs, fails=2)}, says("last", runs), name="siblings"
    )
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        for _ in range(2):
            with pytest.raises(OSError, match="Finished, and not run again: 'a'"):
                await client.ainvoke({"words": []} if runs == [] else None, config)
            state = await client.aget_state(config)
            assert state.next == ("b",)
            assert {task.name: (task.result, task.error) for task in state.tasks} == {
                "a": ({"words": ["a"]}, None),
                "b": (None, "OSError('b failed')"),
            }
            assert state.values == {"words": ["a"]}
            assert (await client.aget_state(state.config)).values == {"words": []}
        assert (await client.ainvoke(None, config))["words"] == ["a", "b", "last"]
    assert sorted(runs) == ["a", "b", "b", "b", "last"]


async def test_large_values_of_finished_siblings_are_in_the_state_but_not_in_the_record(stage: Stage) -> None:
    """At an interrupt and after a failure, the record has the writes once, and no second copy of the values."""
    large = "x" * (PENDING_LIMIT + 1)
    errors = [OSError("failed")]

    def shy(state: Words) -> dict[str, Any]:
        answer = interrupt("?")
        if errors:
            raise errors.pop()
        return {"words": [answer]}

    nodes = {"big": lambda state: {"words": [large]}, "shy": shy}
    graph = side_by_side(Words, nodes, lambda state: None, name="large_sibling")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        waiting = await client.ainvoke({"words": []}, config)
        assert (waiting["words"], [each.value for each in waiting["__interrupt__"]]) == ([large], ["?"])
        with pytest.raises(OSError, match="failed"):
            await client.ainvoke(Command(resume="yes"), config)
        assert (await client.aget_state(config)).values["words"] == [large]
        run = await latest_run(client.client, config["configurable"]["thread_id"])
        assert run is not None
        record = (await outcome_of(client.client, run)).record
        assert record is not None
        assert (record.omitted, record.values) == (("pending_values",), {"words": []})
        assert (await client.ainvoke(None, config))["words"] == [large, "yes"]


async def test_a_sibling_finishes_although_another_has_failed(stage: Stage) -> None:
    """A failure does not interrupt the nodes beside it; meanwhile the state has the error and the running task."""
    go_on = asyncio.Event()
    runs: list[str] = []

    async def slow(state: Words) -> dict[str, Any]:
        await go_on.wait()
        return {"words": ["slow"]}

    graph = side_by_side(Words, {"fast": says("fast", runs, fails=1), "slow": slow}, says("last", runs), name="uneven")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run = await client.astart({"words": []}, config)

        async def has_failed() -> bool:
            return any(task.error for task in (await client.aget_state(config)).tasks)

        await eventually(has_failed)
        assert (await client.aget_state(config)).next == ("fast", "slow")
        go_on.set()
        with pytest.raises(OSError, match="fast failed"):
            await run.result()
        assert (await client.aget_state(config)).next == ("fast",)
        assert (await client.ainvoke(None, config))["words"] == ["fast", "slow", "last"]


async def test_the_error_of_several_failed_nodes_names_them_all(stage: Stage) -> None:
    """Of several failed nodes, the first by name gives the error, whose message names the others."""
    runs: list[str] = []
    graph = side_by_side(
        Words, {"b": says("b", runs, fails=1), "a": says("a", runs, fails=1)}, says("last", runs), name="both"
    )
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(NodeError, match="Node 'a' .* Also failed: 'b'") as caught:
            await client.ainvoke({"words": []}, config)
        assert caught.value.node == "a"
        assert (await client.ainvoke(None, config))["words"] == ["a", "b", "last"]


@pytest.mark.parametrize("interval", [0.01, 0.0])
async def test_a_retry_policy_retries_the_exceptions_it_names(stage: Stage, interval: float) -> None:
    """Temporal makes the attempts, at once or after an interval. A node's idempotency key is the same on each."""
    keys: list[str] = []

    def flaky(state: Words, config: dict[str, Any]) -> dict[str, Any]:
        keys.append(config["metadata"]["idempotency_key"])
        if config["metadata"]["attempt"] < 3:
            raise ConnectionError("not yet")
        return {"latest": "done"}

    policy = RetryPolicy(initial_interval=interval, max_attempts=3)
    graph = chain(Words, {"flaky": flaky}, name="flaky", retry_policy=policy)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert (await client.ainvoke({"words": []}, config))["latest"] == "done"
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize(("error", "attempts"), [(ConnectionError, 2), (ValueError, 1)])
async def test_an_exception_that_no_retry_policy_names_is_not_retried(
    stage: Stage, error: type[Exception], attempts: int
) -> None:
    """A retry policy names exception types; others are not retried. The error says how many attempts were made."""

    async def failing(state: Words) -> None:
        raise error("for good")

    policy = RetryPolicy(initial_interval=0.01, max_attempts=2, retry_on=ConnectionError)
    graph = chain(Words, {"failing": failing}, name="final", retry_policy=policy)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(error, match="for good") as caught:
            await client.ainvoke({"words": []}, config)
    assert isinstance(caught.value, NodeError)
    assert caught.value.attempts == attempts
    assert "for good" in caught.value.traceback


async def test_an_exception_of_an_unusual_type_reaches_the_caller(stage: Stage) -> None:
    """An exception reaches the caller although its constructor needs arguments, or it usually ends a process."""

    class Demanding(Exception):
        def __init__(self, response: Any, *, code: int) -> None:
            super().__init__(f"code {code}")

    raised: list[BaseException] = [
        Demanding(object(), code=7),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"),
        StopIteration("over"),
        SystemExit(3),
        KeyboardInterrupt(),
    ]

    def failing(state: Words) -> None:
        raise raised[0]

    graph = chain(Words, {"failing": failing}, name="unusual")
    client = stage.use(graph)
    async with stage.serving(graph):
        while raised:
            with pytest.raises(NodeError, match="Node 'failing'"):
                await client.ainvoke({"words": []}, stage.thread())
            raised.pop(0)


async def test_the_error_of_a_failing_reducer_names_its_channel(stage: Stage) -> None:
    """A failing reducer fails the run, not its workflow task. A resume applies the writes once the reducer is fixed."""
    fixed = []

    def picky(current: int, update: int) -> int:
        if update > 5 and not fixed:
            raise ArithmeticError("too much")
        return current + update

    sum_state = TypedDict("sum_state", {"total": Annotated[int, picky]})  # noqa: UP013 (picky is local)
    runs: list[str] = []

    def adds(state: Any) -> dict[str, int]:
        runs.append("adds")
        return {"total": 10}

    graph = chain(sum_state, {"adds": adds}, name="picky")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ReducerError, match="channel 'total' failed in step 2 on what 'adds' wrote") as caught:
            await client.ainvoke({"total": 1}, config)
        assert caught.value.channel == "total"
        state = await client.aget_state(config)
        assert (state.values, state.next) == ({"total": 1}, ("adds",))
        fixed.append(True)
        assert await client.ainvoke(None, config) == {"total": 11}
    assert runs == ["adds"]
    stage.threads.clear()  # a reducer whose result changes cannot be replayed


async def test_two_writers_without_a_reducer_leave_the_thread_readable(stage: Stage) -> None:
    """The error of two writers names channel, nodes, step and a fix. The thread takes a new input."""
    both = [True]

    def writes(name: str) -> Callable[[Words], dict[str, Any]]:
        return lambda state: {"latest": name} if both or name == "a" else {}

    graph = side_by_side(Words, {"a": writes("a"), "b": writes("b")}, lambda state: None, name="writers")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(InvalidUpdateError, match=r"'latest' got 2 values in step 2 \(from 'a', 'b'\)") as caught:
            await client.ainvoke({"words": ["x"]}, config)
        assert "Annotated[str, operator.add]" in str(caught.value)
        assert (await client.aget_state(config)).values == {"words": ["x"]}
        both.clear()
        assert await client.ainvoke({"words": ["y"]}, config) == {"words": ["x", "y"], "latest": "a"}


async def test_the_recursion_limit_stops_a_loop_and_a_resume_goes_on(stage: Stage) -> None:
    """The recursion limit is for one invoke; the thread keeps the last checkpoint."""

    class Count(TypedDict):
        n: int

    builder = StateGraph(Count)
    builder.add_node("step", lambda state: {"n": state["n"] + 1})
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda state: END if state["n"] >= 5 else "step", ["step", END])
    graph = builder.compile(name="loop")
    client, config = stage.use(graph), stage.thread(recursion_limit=3)
    async with stage.serving(graph):
        with pytest.raises(GraphRecursionError, match="took the 3 super-steps") as caught:
            await client.ainvoke({"n": 0}, config)
        assert caught.value.limit == 3
        assert (await client.aget_state(config)).values == {"n": 3}
        assert await client.ainvoke(None, config) == {"n": 5}


async def test_a_router_that_raises_fails_its_node(stage: Stage) -> None:
    """Routers run with their node, so a resume runs both again; the router of START has its own task."""
    runs: list[str] = []

    async def choose(state: Words) -> str:
        runs.append("choose")
        if runs.count("choose") == 1:
            raise LookupError("no choice")
        return "a"

    builder = StateGraph(Words)
    builder.add_node("a", says("a", runs))
    builder.add_conditional_edges(START, choose, ["a", END])
    builder.add_conditional_edges("a", lambda state: "nowhere" if runs.count("a") == 1 else END)
    graph = builder.compile(name="routers")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(LookupError, match="Node '__start__' .* no choice"):
            await client.ainvoke({"words": ["in"]}, config)
        assert (await client.aget_state(config)).next == ("__start__",)
        with pytest.raises(InvalidUpdateError, match="'nowhere', which is not one of its destinations") as caught:
            await client.ainvoke(None, config)
        assert caught.value.node == "a"
        assert (await client.ainvoke(None, config))["words"] == ["in", "a"]
    assert runs == ["choose", "choose", "a", "a"]


async def test_the_error_of_a_worker_without_the_node_names_it(stage: Stage) -> None:
    """A deployment has dropped a node in use: the error has graph, node and both specs, and the old code can resume."""
    runs: list[str] = []
    go_on = asyncio.Event()

    async def first(state: Words) -> dict[str, Any]:
        await go_on.wait()
        return {"words": ["first"]}

    old = chain(Words, {"first": first, "second": says("second", runs)}, name="changing")
    new = chain(Words, {"first": first}, name="changing")
    client, config = stage.use(old), stage.thread()
    async with stage.serving(old):
        run = await client.astart({"words": []}, config)

        async def runs_first() -> bool:
            return (await client.aget_state(config)).next == ("first",)

        await eventually(runs_first)
    async with stage.serving(new):
        go_on.set()
        with pytest.raises(MissingNodeError, match="no node 'second'") as caught:
            await run.result()
        assert (caught.value.graph, caught.value.node) == ("changing", "second")
        assert caught.value.run_spec == old.registry.spec.hash
        assert caught.value.worker_spec == new.registry.spec.hash
        with pytest.raises(MissingNodeError, match="goes on at node 'second'"):
            await client.ainvoke(None, config)
    async with stage.serving(old):
        assert (await client.ainvoke(None, config))["words"] == ["first", "second"]
    assert runs == ["second"]


@pytest.mark.usefixtures("frequent_heartbeats")
@pytest.mark.parametrize("how", ["terminate", "cancel"])
async def test_a_run_ended_from_outside_is_resumed_by_a_replay(stage: Stage, how: str) -> None:
    """A run that was terminated or cancelled has left no record, so its history is replayed."""
    runs: list[str] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(state: Words) -> dict[str, Any]:
        runs.append("slow")
        begun.set()
        await go_on.wait()
        return {"words": ["slow"]}

    graph = chain(Words, {"first": says("first", runs), "slow": slow}, name="ended")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        run = await client.astart({"words": []}, config)
        await eventually(begun.is_set)
        handle = stage.client.get_workflow_handle(thread_id)
        await (handle.terminate() if how == "terminate" else handle.cancel())
        with pytest.raises(RunEndedError, match="resume the thread") as caught:
            await run.result()
        assert caught.value.status == {"terminate": "terminated", "cancel": "cancelled"}[how]
        ended = await latest_run(stage.client, thread_id)
        assert ended is not None
        assert (await outcome_of(stage.client, ended)).record is None
        assert (await client.aget_state(config)).values == {"words": ["first"]}
        go_on.set()
        assert (await client.ainvoke(None, config))["words"] == ["first", "slow"]
    assert runs == ["first", "slow", "slow"]
