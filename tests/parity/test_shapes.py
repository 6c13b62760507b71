"""What users hold in their hands has LangGraph's shape: snapshots, tasks, interrupts, a node's config."""

from __future__ import annotations

from collections.abc import AsyncIterator
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import PregelTask
from langgraph.types import StateSnapshot as TheirSnapshot
from temporalio.testing import WorkflowEnvironment

from stepgraph import StateSnapshot, TaskSnapshot
from tests.conftest import Stage
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, Library, ParityThread

LANGGRAPH_KEYS = ("langgraph_node", "langgraph_triggers", "langgraph_path")


class Count(TypedDict, total=False):
    n: int
    log: Annotated[list[str], add]


@pytest.fixture
async def stage(server: WorkflowEnvironment) -> AsyncIterator[Stage]:
    """A stage of its own for each test: each builds its graphs, and serves them with a worker of theirs."""
    stage = Stage(server.client)
    yield stage
    await stage.replay()


def _both(build: Any, stage: Stage, name: str, **options: Any) -> tuple[Any, ParityThread, ParityThread]:
    """Return our graph, a thread of it on the stage, and a thread in LangGraph."""
    graph = build(STEPGRAPH).compile(name=name, **options)
    theirs = build(LANGGRAPH).compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "t"}}
    return graph, ParityThread(STEPGRAPH, stage.use(graph), stage.thread()), ParityThread(LANGGRAPH, theirs, thread)


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_nodes_config_has_langgraphs_metadata(stage: Stage, durability: str) -> None:
    """Node, triggers and path are LangGraph's, beside the caller's metadata; the namespace has the task's id.

    The step is that of the checkpoint which the task leads to, in both libraries. Here steps count from 0.
    """
    seen: dict[str, dict[str, dict[str, Any]]] = {"ours": {}, "theirs": {}}

    def build(lib: Library) -> Any:
        configs = seen["ours" if lib is STEPGRAPH else "theirs"]

        def node(name: str) -> Any:
            def run(state: Count, config: RunnableConfig) -> dict[str, Any]:
                configs[name] = dict(config["metadata"])
                return {"log": [name]}

            return run

        def router(state: Count, config: RunnableConfig) -> str:
            configs["router"] = dict(config["metadata"])
            return "z"

        g = lib.build(
            Count,
            "START > b, START > a, b+a > c, a > c, a+b > d, d > END, z > END",
            **{name: node(name) for name in "abcdz"},
        )
        return g.add_conditional_edges("c", router, ["z"])

    graph, ours, theirs = _both(build, stage, "config_metadata", durability=durability)
    async with stage.serving(graph):
        for thread in (ours, theirs):
            await thread.graph.ainvoke({"n": 1}, {**thread.config, "metadata": {"team": "x", "langgraph_node": "no"}})
    assert seen["ours"].keys() == seen["theirs"].keys() == {*"abcdz", "router"}
    for name, our_metadata in seen["ours"].items():
        their_metadata = seen["theirs"][name]
        assert {key: our_metadata[key] for key in LANGGRAPH_KEYS} == {
            key: their_metadata[key] for key in LANGGRAPH_KEYS
        }
        assert our_metadata["team"] == their_metadata["team"] == "x"
        assert our_metadata["langgraph_step"] == our_metadata["step"] == their_metadata["langgraph_step"] + 1
        namespace = f"{our_metadata['langgraph_node']}:{our_metadata['task_id']}"
        assert our_metadata["langgraph_checkpoint_ns"] == namespace
        assert their_metadata["langgraph_checkpoint_ns"].startswith(f"{our_metadata['langgraph_node']}:")


async def test_a_failed_task_shows_the_repr_of_its_exception(stage: Stage) -> None:
    """`task.error` is LangGraph's text, whatever the exception's arguments, at the head and in the history."""
    errors = [
        ConnectionError("no route"),
        FileNotFoundError(2, "none"),
        KeyError("k"),
        ValueError(),
        TypeError("a'b\n"),
    ]

    for number, error in enumerate(errors):

        def build(lib: Library, error: Exception = error) -> Any:
            def node(state: Count) -> None:
                raise error

            return lib.build(Count, "START > a, a > END", a=node)

        graph, ours, theirs = _both(build, stage, f"fails_{number}")
        async with stage.serving(graph):
            for thread in (ours, theirs):
                with pytest.raises(type(error)):
                    await thread.graph.ainvoke({"n": 1}, thread.config)
            for our_head, their_head in (
                (await ours.graph.aget_state(ours.config), await theirs.graph.aget_state(theirs.config)),
                ((await ours.history())[0], (await theirs.history())[0]),
            ):
                assert our_head.tasks[0].error == their_head.tasks[0].error == repr(error)


async def test_a_task_has_langgraphs_fields(stage: Stage) -> None:
    """Snapshots and tasks can be unpacked as LangGraph's; a snapshot has `errors` after LangGraph's fields."""
    assert TaskSnapshot._fields == PregelTask._fields
    assert StateSnapshot._fields[: len(TheirSnapshot._fields)] == TheirSnapshot._fields

    def build(lib: Library) -> Any:
        return lib.build(Count, "START > a, a > END", a=lambda state: {"log": ["a"]})

    graph, ours, theirs = _both(build, stage, "task_fields")
    async with stage.serving(graph):
        for thread in (ours, theirs):
            await thread.graph.ainvoke({"n": 1}, thread.config)
    paths = [
        [(task.path, task.state, task.result) for s in await t.history() for task in s.tasks] for t in (ours, theirs)
    ]
    assert paths[0] == paths[1]
    assert paths[0] == [
        (("__pregel_pull", "a"), None, {"log": ["a"]}),
        (("__pregel_pull", "__start__"), None, {"n": 1}),
    ]


async def test_a_thread_that_does_not_exist_has_langgraphs_empty_snapshot(stage: Stage) -> None:
    """All parts are empty, and `metadata` is `None`."""

    def build(lib: Library) -> Any:
        return lib.build(Count, "START > a, a > END", a=lambda state: None)

    graph, ours, theirs = _both(build, stage, "no_thread")
    async with stage.serving(graph):
        our_snapshot, their_snapshot = await ours.graph.aget_state(ours.config), theirs.graph.get_state(theirs.config)
    assert our_snapshot._replace(config={})[:-1] == tuple(their_snapshot._replace(config={}))
