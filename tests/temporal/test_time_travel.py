"""Updates, forks and replays, on open and on closed threads."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.errors import CheckpointNotFoundError, InvalidUpdateError, ThreadError
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import UPDATE_STATE
from stepgraph.protocol.snapshot import config_for
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.graphs import side_by_side


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]
    analysis: str
    summary: str


class Sum(TypedDict, total=False):
    total: Annotated[int, add]
    note: str


def pipeline(runs: list[str], gate: asyncio.Event | None = None) -> CompiledGraph:
    """Return a graph of gather, analyze and report. If there is a gate, analyze waits for it."""

    async def gather(state: Research) -> dict[str, Any]:
        runs.append("gather")
        return {"sources": ["a", "b"]}

    async def analyze(state: Research) -> dict[str, Any]:
        runs.append("analyze")
        if gate is not None:
            await gate.wait()
        return {"analysis": f"{len(state['sources'])} sources"}

    async def report(state: Research) -> dict[str, Any]:
        runs.append("report")
        return {"summary": f"report: {state['analysis']}"}

    builder = StateGraph(Research)
    builder.add_node(gather).add_node(analyze).add_node(report)
    builder.add_edge(START, "gather").add_edge("gather", "analyze").add_edge("analyze", "report")
    return builder.add_edge("report", END).compile(name="travel")


async def test_an_update_of_a_checkpoint_is_the_new_head(stage: Stage) -> None:
    """The update runs no node and leaves the old branch unchanged; a resume goes on from it."""
    runs: list[str] = []
    graph = pipeline(runs)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"query": "q"}, config)
        before = [s async for s in client.aget_state_history(config)]
        gathered = before[2]
        updated = await client.aupdate_state(gathered.config, {"sources": ["c"]}, as_node="gather")
        head = await client.aget_state(config)
        assert head.config == updated
        assert (head.values["sources"], head.next) == (["a", "b", "c"], ("analyze",))
        assert "analysis" not in head.values
        assert head.metadata == {"source": "update", "step": 3, "writes": {"gather": {"sources": ["c"]}}}
        assert head.parent_config == gathered.config
        assert len(runs) == 3
        assert (await client.ainvoke(None, config))["summary"] == "report: 3 sources"
        assert runs[3:] == ["analyze", "report"]
        history = [s async for s in client.aget_state_history(config)]
        assert [s.config for s in history[3:]] == [s.config for s in before]
        assert await client.aget_state(before[0].config) == before[0]


async def test_a_fork_as_a_source_of_a_complete_join_runs_what_follows_it(stage: Stage) -> None:
    """A closed thread is forked where both sources had finished: on the thread, and onto another one."""
    builder = StateGraph(Sum)
    for name in ("a", "b", "c"):
        builder.add_node(name, lambda state: {"total": 1})
    builder.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "c").add_edge("c", END)
    graph = builder.compile(name="joined_twice")
    client, config, other = stage.use(graph), stage.thread(), stage.thread()
    async with stage.serving(graph):
        assert await client.ainvoke({"note": "n"}, config) == {"total": 3, "note": "n"}
        before_c = [s async for s in client.aget_state_history(config)][1]
        assert before_c.next == ("c",)
        assert await client.afork(before_c.config, {"total": 10}, as_node="a") == {"total": 13, "note": "n"}
        thread_id = other["configurable"]["thread_id"]
        forked = await client.afork(before_c.config, {"total": 20}, as_node="b", thread_id=thread_id)
        assert forked == {"total": 23, "note": "n"}


async def test_a_replay_runs_the_nodes_after_a_checkpoint_again(stage: Stage) -> None:
    """A replay runs the nodes after a checkpoint again, also of an earlier run. It begins with a fork."""
    runs: list[str] = []
    graph = pipeline(runs)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"query": "q"}, config)
        gathered = [s async for s in client.aget_state_history(config)][2]
        for _ in range(2):
            assert (await client.ainvoke(None, gathered.config))["summary"] == "report: 2 sources"
        assert runs == ["gather"] + ["analyze", "report"] * 3
        newest = [s async for s in client.aget_state_history(config)]
        assert newest[2].metadata is not None
        assert newest[2].metadata["source"] == "fork"
        assert newest[2].parent_config == gathered.config
        assert newest[2].metadata["step"] == 3


@pytest.mark.parametrize(
    ("as_node", "next"), [("analyze", ("report",)), ("gather", ("analyze",)), ("human", ("analyze",)), (END, ())]
)
async def test_the_author_of_an_update_decides_what_runs_next(
    stage: Stage, as_node: str, next: tuple[str, ...]
) -> None:
    """After a node's update, its successors are due; a virtual author changes nothing; after END, nothing is due."""
    graph = pipeline([])
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"query": "q"}, config)
        gathered = [s async for s in client.aget_state_history(config)][2]
        await client.aupdate_state(gathered.config, {"analysis": "by hand"}, as_node=as_node)
        head = await client.aget_state(config)
        assert head.next == next
        assert head.values["analysis"] == "by hand"


@pytest.mark.parametrize("on_new_thread", [False, True])
async def test_an_update_by_a_virtual_author_keeps_the_results_of_finished_nodes(
    stage: Stage, on_new_thread: bool
) -> None:
    """At an unfinished checkpoint of an earlier run, only the unfinished tasks run, also on a new thread."""
    runs: list[str] = []

    def fails(state: Sum) -> dict[str, Any]:
        runs.append("fails")
        if runs.count("fails") < 3:
            raise OSError("no route")
        return {"total": 10}

    def adds(state: Sum) -> dict[str, Any]:
        runs.append("adds")
        return {"total": 1}

    graph = side_by_side(Sum, {"adds": adds, "fails": fails}, lambda state: None, name="unfinished")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        for _ in range(2):
            with pytest.raises(OSError, match="no route"):
                await client.ainvoke({"total": 100}, config)
        unfinished = [s async for s in client.aget_state_history(config) if s.next == ("adds", "fails")][-1]
        runs[:] = ["fails", "fails"]
        if on_new_thread:
            forked = stage.thread()
            name = forked["configurable"]["thread_id"]
            returned = await client.afork(unfinished.config, {"note": "x"}, as_node="human", thread_id=name)
        else:
            await client.aupdate_state(unfinished.config, {"note": "x"}, as_node="human")
            head = await client.aget_state(config)
            assert (head.next, head.values) == (("fails",), {"total": 101, "note": "x"})
            returned = await client.ainvoke(None, config)
        assert returned == {"total": 111, "note": "x"}
        assert runs == ["fails"] * 3


async def test_an_update_of_an_unfinished_input_adds_to_it(stage: Stage) -> None:
    """The router of START failed on the input; it runs again on the input with the update."""
    builder = StateGraph(Sum).add_node("done", lambda state: {"total": 1})
    builder.add_conditional_edges(START, lambda state: {"right": "done"}[state["note"]], ["done"])
    graph = builder.add_edge("done", END).compile(name="entry")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(KeyError):
            await client.ainvoke({"total": 5, "note": "wrong"}, config)
        await client.aupdate_state(config, {"total": 10, "note": "right"})
        assert (await client.aget_state(config)).next == ("done",)
        assert await client.ainvoke(None, config) == {"total": 16, "note": "right"}


async def test_a_fork_runs_on_a_new_thread_beside_its_source(stage: Stage) -> None:
    """Ten forks of one checkpoint run at once; each names its origin, and the source does not change."""
    graph = pipeline([])
    client, config = stage.use(graph), stage.thread()
    source = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"query": "q"}, config)
        before = [s async for s in client.aget_state_history(config)]
        names = [stage.thread()["configurable"]["thread_id"] for _ in range(10)]
        results = await asyncio.gather(
            *(
                client.afork(before[2].config, {"sources": ["x"] * n}, as_node="gather", thread_id=name)
                for n, name in enumerate(names)
            )
        )
        assert [result["summary"] for result in results] == [f"report: {n + 2} sources" for n in range(10)]
        assert [s async for s in client.aget_state_history(config)] == before
        forked = [s async for s in client.aget_state_history(config_for(names[3]))]
        assert [s.metadata["step"] for s in forked if s.metadata] == [5, 4, 3]
        assert forked[-1].parent_config == before[2].config
        assert forked[-1].metadata is not None
        assert forked[-1].metadata["forked_from"] == {"thread_id": source, "checkpoint_id": before[2].checkpoint_id}
        with pytest.raises(ThreadError, match="There is a thread .* already"):
            await client.afork(before[2].config, thread_id=names[0])


async def test_while_a_thread_runs_updates_take_effect_at_the_next_boundary(stage: Stage) -> None:
    """Updates and signals take effect in the order of their arrival; a refused one fails nothing."""
    gate = asyncio.Event()
    graph = pipeline([], gate)
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        run = await client.astart({"query": "q"}, config)

        async def runs_analyze() -> bool:
            return (await client.aget_state(config)).next == ("analyze",)

        await eventually(runs_analyze)
        handle = stage.client.get_workflow_handle(thread_id)
        await handle.signal("update_state", {"values": {"sources": ["by signal"]}, "as_node": "human"})
        await handle.signal("update_state", {"values": {"surces": []}})
        await handle.signal("update_state", {"values": 7})
        with pytest.raises(InvalidUpdateError, match="no node 'reprot'.* Did you mean 'report'?"):
            await client.aupdate_state(config, {"sources": []}, as_node="reprot")
        updating = asyncio.ensure_future(client.aupdate_state(config, {"sources": ["by update"]}, as_node="human"))

        async def is_accepted() -> bool:
            return UPDATE_STATE in await stage.accepted_updates(thread_id)

        await eventually(is_accepted)
        assert not updating.done()
        state = await client.aget_state(config)
        assert state.values["sources"] == ["a", "b"]
        gate.set()
        await updating
        result = await run.result()
        assert result["sources"] == ["a", "b", "by signal", "by update"]
        assert result["summary"] == "report: 2 sources"


async def test_bad_updates_are_refused_and_change_nothing(stage: Stage) -> None:
    """A bad update has an unknown node, value or checkpoint, or several nodes could be its author."""
    graph = pipeline([])
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"query": "q"}, config)
        head = await client.aget_state(config)
        for values, as_node, message in (
            ({"query": 7}, None, "'query' is declared str"),
            ({"nope": 1}, None, "a key 'nope'"),
            ({}, "nobody", "no node 'nobody'"),
        ):
            with pytest.raises(InvalidUpdateError, match=message):
                await client.aupdate_state(config, values, as_node=as_node)
        with pytest.raises(CheckpointNotFoundError):
            await client.aupdate_state(config_for(thread_id, "nonsense"), {"query": "x"})
        assert (await client.aget_state(config)).values == head.values
        assert await client.abulk_update_state(
            config, [[({"query": "x"}, "gather"), ({"analysis": "y"}, "analyze")], [({"sources": ["z"]}, "human")]]
        )
        state = await client.aget_state(config)
        assert (state.values["query"], state.values["sources"], state.next) == (
            "x",
            ["a", "b", "z"],
            ("analyze", "report"),
        )
        with pytest.raises(InvalidUpdateError, match="ambiguous: 'gather', 'analyze' wrote last"):
            await client.aupdate_state(state.parent_config or {}, {"query": "z"})


async def test_an_update_starts_a_thread_that_does_not_exist(stage: Stage) -> None:
    """An update of a thread that does not exist has the effect of an input: the first nodes are due."""
    graph = pipeline([])
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.aupdate_state(config, {"query": "by hand"})
        state = await client.aget_state(config)
        assert (state.values, state.next) == ({"query": "by hand", "sources": []}, ("gather",))
        assert (await client.ainvoke(None, config))["summary"] == "report: 2 sources"


async def test_updates_that_run_routers_at_the_same_time_are_all_applied(stage: Stage) -> None:
    """Each of many updates of a waiting thread runs the node's router first, and the history can be replayed."""

    async def router(state: Research) -> str:
        await asyncio.sleep(0.05)
        return "wait"

    builder = StateGraph(Research)
    builder.add_node("gather", lambda state: {"sources": ["a"]})
    builder.add_node("wait", lambda state: {"summary": interrupt("go on?")})
    builder.add_edge(START, "gather").add_conditional_edges("gather", router, {"wait": "wait"})
    graph = builder.add_edge("wait", END).compile(name="routers")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"query": "q"}, config)
        await asyncio.gather(*(client.aupdate_state(config, {"sources": [str(n)]}, as_node="gather") for n in range(8)))
        state = await client.aget_state(config)
        assert sorted(state.values["sources"]) == [*map(str, range(8)), "a"]
        assert (await client.ainvoke(None, config))["__interrupt__"]
        assert (await client.ainvoke(Command(resume="yes"), config))["summary"] == "yes"
