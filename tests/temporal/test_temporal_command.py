"""Threads of an operator who has the `temporal` command and nothing of stepgraph."""

from __future__ import annotations

import asyncio
import json
from operator import add
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.client import WorkflowExecutionStatus

from stepgraph import END, START, StateGraph
from stepgraph.client import GraphClient
from stepgraph.errors import NodeError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage, dev_server
from tests.patience import eventually
from tests.temporal.terminal import Terminal, thread_id

FINISHED = {"query": "x", "sources": ["a.pdf", "b.pdf"], "analysis": "2 agree", "summary": "x: 2 agree"}


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]
    analysis: str
    summary: str


class Pipeline:
    """A graph of gather, analyze and report. A test decides how the next calls of analyze end."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures = 0
        """How many of the next calls of analyze fail."""
        self.slow = False
        """Whether analyze waits until `go_on` is set."""
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    def graph(self) -> CompiledGraph:
        builder = StateGraph(Research)

        def gather(state: Research) -> dict[str, Any]:
            self.calls.append("gather")
            return {"sources": ["a.pdf", "b.pdf"]}

        async def analyze(state: Research) -> dict[str, Any]:
            self.calls.append("analyze")
            self.started.set()
            if self.slow:
                await self.go_on.wait()
            if self.failures:
                self.failures -= 1
                raise ConnectionError("no route")
            return {"analysis": f"{len(state['sources'])} agree"}

        def report(state: Research) -> dict[str, Any]:
            self.calls.append("report")
            return {"summary": f"{state['query']}: {state['analysis']}"}

        builder.add_node(gather).add_node(analyze).add_node(report)
        builder.add_edge(START, "gather").add_edge("gather", "analyze").add_edge("analyze", "report")
        return builder.add_edge("report", END).compile(name="research")


class Greeting(TypedDict):
    name: str
    text: str


def greeting() -> CompiledGraph:
    """Return a graph that has nothing to do with research."""

    def greet(state: Greeting) -> dict[str, str]:
        return {"text": f"Hello, {state['name']}."}

    builder = StateGraph(Greeting).add_node(greet)
    return builder.add_edge(START, "greet").add_edge("greet", END).compile(name="greeting")


async def steps(client: GraphClient, config: dict[str, Any]) -> list[tuple[int, str]]:
    """Return step and source of every checkpoint, newest first."""
    return [
        (snapshot.metadata["step"], snapshot.metadata["source"])
        async for snapshot in client.aget_state_history(config)
        if snapshot.metadata
    ]


async def test_a_graph_is_started_by_its_name(stage: Stage, terminal: Terminal) -> None:
    """`temporal workflow start --type research --input ...` has the result, state and history of an `invoke`."""
    pipeline = Pipeline()
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run_id = await terminal.start(config, "research", '{"query": "x"}')
        printed = await terminal.result(config)
        state = await client.aget_state(config)
        history = await steps(client, config)
    assert printed["status"] == "COMPLETED"
    assert printed["result"]["values"] == FINISHED
    assert not printed["result"]["next"]
    assert state.values == FINISHED
    assert state.next == ()
    assert str(state.checkpoint_id).startswith(run_id)
    assert history == [(4, "loop"), (3, "loop"), (2, "loop"), (1, "loop"), (0, "input")]
    assert pipeline.calls == ["gather", "analyze", "report"]


async def test_the_second_input_of_a_start_has_options(stage: Stage, terminal: Terminal) -> None:
    """The second input of a start has options: a recursion limit ends the run, and a resume goes on."""
    pipeline = Pipeline()
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "research", '{"query": "x"}', '{"recursion_limit": 2}')
        error_type, message = await terminal.failure(config)
        assert error_type == "GraphRecursionError"
        assert "the 2 super-steps it was allowed" in message
        assert await client.ainvoke(None, config) == FINISHED
    assert pipeline.calls == ["gather", "analyze", "report"]


@pytest.mark.parametrize("arguments", [(), ("null",)], ids=["no input", "null"])
async def test_a_failed_thread_is_resumed_by_a_start_without_input(
    stage: Stage, terminal: Terminal, arguments: tuple[str, ...]
) -> None:
    """A start without input resumes the thread at the node that failed; finished nodes do not run again."""
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        await terminal.start(config, "research", *arguments)
        printed = await terminal.result(config)
        history = await steps(client, config)
    assert printed["result"]["values"] == FINISHED
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]
    assert history == [(4, "loop"), (3, "loop"), (2, "loop"), (1, "loop"), (0, "input")]


async def test_a_failed_start_by_hand_is_resumed_by_the_client(stage: Stage, terminal: Terminal) -> None:
    """The failure of a start by hand names node, step and thread. The client resumes from the last checkpoint."""
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "research", '{"query": "x"}')
        assert await terminal.failure(config) == (
            "NodeError",
            f"Node 'analyze' of graph 'research' failed in step 3 of thread {thread_id(config)!r}: "
            "ConnectionError: no route.",
        )
        assert (await client.aget_state(config)).next == ("analyze",)
        run = await client.aget_run(config)
        assert run is not None
        with pytest.raises(ConnectionError) as caught:
            await run.result()
        assert isinstance(caught.value, NodeError)
        assert await client.ainvoke(None, config) == FINISHED
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


async def test_a_start_without_input_on_an_unknown_thread_says_that_it_needs_one(
    stage: Stage, terminal: Terminal
) -> None:
    """A start without input on an unknown thread fails with an `EmptyInputError`. The thread can be used afterwards."""
    pipeline = Pipeline()
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "research")
        assert await terminal.failure(config) == (
            "EmptyInputError",
            f"Thread {thread_id(config)!r} has nothing to resume. Start it with an input.",
        )
        assert (await client.aget_state(config)).values == {}
        assert await client.ainvoke({"query": "x"}, config) == FINISHED
        assert (await steps(client, config))[-1] == (0, "input")


MISFITS = {
    "wrong type": (['{"query": 5}'], "'query' is declared str, got int"),
    "unknown key": (['{"quary": "x"}'], "a key 'quary' that its state does not declare. Did you mean 'query'?"),
    "no object": (['["x"]'], "must be a JSON object with its state's keys ('query', 'sources', 'analysis', 'summary')"),
    "no options": (['{"query": "y"}', '"garbage"'], "A run takes an input (a JSON object, or null to resume)"),
    "no JSON": (["y", "--input-meta=encoding=text/plain"], "Expected a JSON payload, got one of encoding 'text/plain'"),
}


@pytest.mark.parametrize(("arguments", "reason"), MISFITS.values(), ids=MISFITS.keys())
async def test_an_input_that_does_not_fit_fails_its_run_and_not_the_thread(
    stage: Stage, terminal: Terminal, arguments: list[str], reason: str
) -> None:
    """An input that does not fit fails its run with an `InvalidInputError`. An existing thread can be resumed."""
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        before = await client.aget_state(config)
        await terminal.start(config, "research", *arguments)
        error_type, message = await terminal.failure(config)
        assert error_type == "InvalidInputError"
        assert reason in message
        after = await client.aget_state(config)
        assert after._replace(errors=()) == before
        assert after.errors == (f"The latest run was refused: {message}",)
        assert await steps(client, config) == [(2, "loop"), (1, "loop"), (0, "input")]
        assert await client.ainvoke(None, config) == FINISHED
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


async def test_a_thread_that_never_began_takes_an_input_that_fits(stage: Stage, terminal: Terminal) -> None:
    """A first start with an input that does not fit makes no checkpoint."""
    pipeline = Pipeline()
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "research", '{"query": 5}')
        assert (await terminal.failure(config))[0] == "InvalidInputError"
        assert (await client.aget_state(config)).values == {}
        await terminal.start(config, "research", '{"query": "x"}')
        assert (await terminal.result(config))["result"]["values"] == FINISHED
        assert (await steps(client, config))[-1] == (0, "input")


async def test_a_start_with_a_mistyped_graph_suggests_the_right_one(stage: Stage, terminal: Terminal) -> None:
    """A start with a mistyped graph fails with an `UnknownGraphError`. An existing thread can be resumed."""
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, greeting()):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        await terminal.start(config, "reserch", '{"query": "x"}')
        assert await terminal.failure(config) == (
            "UnknownGraphError",
            "This worker has no graph 'reserch'. Did you mean 'research'? "
            "Start a worker with its code on a task queue of its own, or fix the name.",
        )
        assert (await client.aget_state(config)).next == ("analyze",)
        assert len(await steps(client, config)) == 3
        assert await client.ainvoke(None, config) == FINISHED
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


async def test_a_start_with_a_mistyped_graph_leaves_a_new_thread_free(stage: Stage, terminal: Terminal) -> None:
    """A thread belongs to the first graph that made a checkpoint on it."""
    graph = Pipeline().graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "reserch", '{"query": "x"}')
        assert (await terminal.failure(config))[0] == "UnknownGraphError"
        assert (await client.aget_state(config)).values == {}
        assert await client.ainvoke({"query": "x"}, config) == FINISHED


async def test_a_start_on_a_thread_of_another_graph_is_refused(stage: Stage, terminal: Terminal) -> None:
    """A `GraphMismatchError` names both graphs; the thread does not change, and its own graph can resume it."""
    pipeline = Pipeline()
    pipeline.failures = 1
    graph, other = pipeline.graph(), greeting()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph, other):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        await terminal.start(config, "greeting", '{"name": "Ada"}')
        assert await terminal.failure(config) == (
            "GraphMismatchError",
            f"Thread {thread_id(config)!r} belongs to graph 'research', not to 'greeting'. Use another thread id.",
        )
        assert (await client.aget_state(config)).next == ("analyze",)
        assert len(await steps(client, config)) == 3
        assert await client.ainvoke(None, config) == FINISHED
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


async def test_a_second_start_is_a_further_input(stage: Stage, terminal: Terminal) -> None:
    """A second start is a further input: step numbers continue, and the client reads the checkpoints of all runs."""
    pipeline = Pipeline()
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        first = await terminal.start(config, "research", '{"query": "x"}')
        await terminal.result(config)
        second = await terminal.start(config, "research", '{"query": "y"}')
        printed = await terminal.result(config)
        await client.ainvoke({"query": "z"}, config)
        history = [snapshot async for snapshot in client.aget_state_history(config)]
        third, *_ = await stage.runs(thread_id(config))
    assert printed["result"]["values"]["sources"] == ["a.pdf", "b.pdf"] * 2
    assert printed["result"]["values"]["summary"] == "y: 4 agree"
    assert [s.metadata["step"] for s in history if s.metadata] == list(range(14, -1, -1))
    assert [s.metadata["step"] for s in history if (s.metadata or {})["source"] == "input"] == [10, 5, 0]
    assert [s.parent_config for s in history] == [*(s.config for s in history[1:]), None]
    made_by = [str(s.checkpoint_id).rpartition(".")[0] for s in history]
    assert made_by == [third.run_id] * 5 + [second] * 5 + [first] * 5


async def test_a_start_while_the_thread_runs_is_refused_by_temporal(stage: Stage, terminal: Terminal) -> None:
    """With --fail-existing the command fails; without it, the command prints the open run's id, and starts no run."""
    pipeline = Pipeline()
    pipeline.slow = True
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        run_id = await terminal.start(config, "research", '{"query": "x"}')
        await eventually(pipeline.started.is_set)
        again = ("workflow", "start", "--type", "research", "--task-queue", stage.task_queue)
        again += ("--workflow-id", thread_id(config), "--input", '{"query": "y"}')
        refused = await terminal.run(*again, "--fail-existing")
        same = await terminal.run(*again)
        pipeline.go_on.set()
        printed = await terminal.result(config)
        assert (await client.aget_state(config)).values == FINISHED
    assert refused.status == 1
    assert "already running" in refused.err
    assert same.json["runId"] == run_id
    assert printed["runId"] == run_id
    assert pipeline.calls == ["gather", "analyze", "report"]


async def test_the_state_is_read_by_query(stage: Stage, terminal: Terminal) -> None:
    """`temporal workflow query --type get_state` prints readable JSON.

    It reads a closed run, an open run, and one checkpoint.
    """
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    stage.use(graph)
    config = stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "research", '{"query": "x"}')
        await terminal.result(config)
        head = await terminal.query(config, "get_state")
        assert head["values"] == {"query": "x", "sources": ["a.pdf", "b.pdf"]}
        assert head["next"] == ["analyze"]
        assert head["metadata"] == {
            "source": "loop",
            "step": 2,
            "writes": {"gather": {"sources": ["a.pdf", "b.pdf"]}},
        }
        (task,) = head["tasks"]
        assert (task["name"], task["error"], task["result"]) == ("analyze", "ConnectionError('no route')", None)
        assert head["config"]["configurable"]["thread_id"] == thread_id(config)
        assert head["created_at"].endswith("+00:00")

        request = {"checkpoint_id": head["parent_config"]["configurable"]["checkpoint_id"]}
        earlier = await terminal.query(config, "get_state", json.dumps(request))
        assert earlier["config"] == head["parent_config"]
        assert (earlier["metadata"]["step"], earlier["next"]) == (1, ["gather"])

        pipeline.slow = True
        pipeline.started.clear()
        await terminal.start(config, "research")
        await eventually(pipeline.started.is_set)
        running = await terminal.query(config, "get_state")
        assert running["config"] == head["config"]
        assert running["tasks"][0]["error"] is None
        pipeline.go_on.set()
        await terminal.result(config)
        done = await terminal.query(config, "get_state", "{}")
        assert done["values"] == FINISHED
        assert not done["next"]


async def test_the_history_is_read_by_query(stage: Stage, terminal: Terminal) -> None:
    """`get_state_history` returns the checkpoints of one run, newest first, and the id of the run before it.

    It takes `limit`, `before` and `filter`.
    """
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    stage.use(graph)
    config = stage.thread()

    async def steps_of(*inputs: str, run_id: str | None = None) -> Any:
        answer = await terminal.query(config, "get_state_history", *inputs, run_id=run_id)
        return [snapshot["metadata"]["step"] for snapshot in answer["snapshots"]], answer

    async with stage.serving(graph):
        first = await terminal.start(config, "research", '{"query": "x"}')
        await terminal.result(config)
        numbers, answer = await steps_of()
        assert numbers == [2, 1, 0]
        assert answer["more_before"] is None
        assert answer["previous_run_id"] is None
        numbers, answer = await steps_of('{"limit": 2}')
        assert numbers == [2, 1]
        assert answer["more_before"] == answer["snapshots"][-1]["config"]["configurable"]["checkpoint_id"]
        numbers, answer = await steps_of(json.dumps({"limit": 2, "before": answer["more_before"]}))
        assert numbers == [0]
        assert answer["more_before"] is None
        numbers, _ = await steps_of('{"filter": {"source": "input"}}')
        assert numbers == [0]

        await terminal.start(config, "research")
        await terminal.result(config)
        numbers, answer = await steps_of()
        assert numbers == [4, 3, 2]
        assert answer["previous_run_id"] == first
        numbers, _ = await steps_of(run_id=answer["previous_run_id"])
        assert numbers == [2, 1, 0]


GARBAGE = {
    "a wrong type": ("get_state", '{"checkpoint_id": 5}', "checkpoint_id: Input should be a valid string"),
    "an unknown checkpoint": ("get_state", '{"checkpoint_id": "nope"}', "has no checkpoint 'nope'"),
    "a limit that is no number": ("get_state_history", '{"limit": "many"}', "limit: Input should be a valid integer"),
    "an unknown bound": ("get_state_history", '{"before": "nope"}', "has no checkpoint 'nope'"),
    "a limit below zero": ("get_state_history", '{"limit": -1}', "limit: Input should be greater than or equal to 0"),
    "an unknown key": ("get_state", '{"chekpoint_id": "x"}', "chekpoint_id"),
    "a text": ("get_state", '"garbage"', "The query's argument is not understood"),
    "a list": ("get_state_history", "[1, 2]", "The query's argument is not understood"),
}


@pytest.mark.parametrize(("query", "argument", "message"), GARBAGE.values(), ids=GARBAGE.keys())
async def test_a_query_with_a_bad_argument_returns_an_error(
    stage: Stage, terminal: Terminal, query: str, argument: str, message: str
) -> None:
    """A query with a bad argument returns an error with a message, and does not affect the thread."""
    graph = greeting()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"name": "Ada"}, config)
        answer = await terminal.query(config, query, argument)
        assert message in answer["error"]["message"]
        assert (await client.aget_state(config)).values["text"] == "Hello, Ada."


@pytest.mark.usefixtures("frequent_heartbeats")
@pytest.mark.parametrize("how", ["terminate", "cancel"])
async def test_a_run_ended_by_hand_in_the_middle_of_a_node_is_resumed(
    stage: Stage, terminal: Terminal, how: str
) -> None:
    """After `temporal workflow terminate` or `cancel`, the client resumes the thread.

    Only the node that was running runs again.
    """
    pipeline = Pipeline()
    pipeline.slow = True
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    status = {"terminate": WorkflowExecutionStatus.TERMINATED, "cancel": WorkflowExecutionStatus.CANCELED}[how]
    async with stage.serving(graph):
        run_id = await terminal.start(config, "research", '{"query": "x"}')
        await eventually(pipeline.started.is_set)
        ended = await terminal.run("workflow", how, "--workflow-id", thread_id(config))
        assert ended.status == 0, ended.err
        await terminal.result(config)
        handle = stage.client.get_workflow_handle(thread_id(config), run_id=run_id)
        assert (await handle.describe()).status is status

        state = await client.aget_state(config)
        assert state.values == {"query": "x", "sources": ["a.pdf", "b.pdf"]}
        assert state.next == ("analyze",)
        assert (await terminal.query(config, "get_state"))["next"] == ["analyze"]
        assert await steps(client, config) == [(2, "loop"), (1, "loop"), (0, "input")]

        pipeline.slow = False
        pipeline.go_on.set()
        assert await client.ainvoke(None, config) == FINISHED
        assert await steps(client, config) == [(4, "loop"), (3, "loop"), (2, "loop"), (1, "loop"), (0, "input")]
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


@pytest.mark.usefixtures("frequent_heartbeats")
@pytest.mark.parametrize("how", ["terminate", "cancel"])
async def test_a_run_ended_by_hand_is_resumed_by_hand(stage: Stage, terminal: Terminal, how: str) -> None:
    """After `temporal workflow terminate` or `cancel`, `temporal workflow start` resumes the thread."""
    pipeline = Pipeline()
    pipeline.slow = True
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await terminal.start(config, "research", '{"query": "x"}')
        await eventually(pipeline.started.is_set)
        await terminal.run("workflow", how, "--workflow-id", thread_id(config))
        await terminal.result(config)
        pipeline.slow = False
        pipeline.go_on.set()
        await terminal.start(config, "research")
        assert (await terminal.result(config))["result"]["values"] == FINISHED
        assert await steps(client, config) == [(4, "loop"), (3, "loop"), (2, "loop"), (1, "loop"), (0, "input")]
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


async def test_a_run_terminated_before_a_worker_ran_it_changes_nothing(stage: Stage, terminal: Terminal) -> None:
    """After a run that no worker has run, state, history and resume use the run before it."""
    pipeline = Pipeline()
    pipeline.failures = 1
    graph = pipeline.graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "x"}, config)
        before = await client.aget_state(config)
    await terminal.start(config, "research", '{"query": "y"}')
    ended = await terminal.run("workflow", "terminate", "--workflow-id", thread_id(config))
    assert ended.status == 0, ended.err
    async with stage.serving(graph):
        assert await client.aget_state(config) == before
        assert len(await steps(client, config)) == 3
        assert await client.ainvoke(None, config) == FINISHED
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]


async def test_a_thread_goes_on_where_its_terminated_run_has_no_worker(tmp_path: Path) -> None:
    """A terminated run left no record. Its history is replayed, although no worker polls its task queue any more."""
    pipeline = Pipeline()
    pipeline.slow = True
    graph = pipeline.graph()
    database = ["--db-filename", str(tmp_path / "temporal.db")]
    async with dev_server(*database) as server:
        first = Stage(server.client)
        config = first.thread()
        async with first.serving(graph):
            run = await first.use(graph).astart({"query": "x"}, config)
            await eventually(pipeline.started.is_set)
            await server.client.get_workflow_handle(thread_id(config), run_id=run.run_id).terminate()
            pipeline.slow = False
            pipeline.go_on.set()
    async with dev_server(*database) as server:
        second = Stage(server.client)
        client = second.use(graph)
        async with second.serving(graph):
            assert (await client.aget_state(config)).next == ("analyze",)
            assert await client.ainvoke(None, config) == FINISHED
        second.threads = first.threads
        assert await second.replay() == 2
    assert pipeline.calls == ["gather", "analyze", "analyze", "report"]
