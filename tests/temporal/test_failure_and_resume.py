"""What stepgraph is for: a graph fails on Temporal, is resumed, and has its whole history."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, StateGraph
from stepgraph.errors import NodeError
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage


class Research(TypedDict):
    query: str
    sources: Annotated[list[str], add]
    analysis: str
    summary: str


def pipeline(runs: list[str], failures: int = 1) -> CompiledGraph:
    """Return a graph of gather, analyze and report; analyze fails the first times."""
    builder = StateGraph(Research)

    def gather(state: Research) -> dict[str, Any]:
        runs.append("gather")
        return {"sources": ["a.pdf", "b.pdf"]}

    async def analyze(state: Research) -> dict[str, Any]:
        runs.append("analyze")
        if runs.count("analyze") <= failures:
            raise ConnectionError("no route")
        return {"analysis": f"{len(state['sources'])} agree"}

    def report(state: Research) -> dict[str, Any]:
        runs.append("report")
        return {"summary": f"{state['query']}: {state['analysis']}"}

    builder.add_node(gather).add_node(analyze).add_node(report)
    builder.add_edge(START, "gather").add_edge("gather", "analyze").add_edge("analyze", "report")
    return builder.add_edge("report", END).compile(name="research")


async def test_a_failed_thread_is_resumed_where_it_failed(stage: Stage) -> None:
    """The caller gets the node's own exception; the resume runs only the tasks that have not finished."""
    runs: list[str] = []
    graph = pipeline(runs)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError, match="no route") as caught:
            await client.ainvoke({"query": "q"}, config)
        assert isinstance(caught.value, NodeError)
        assert (caught.value.graph, caught.value.node, caught.value.step) == ("research", "analyze", 3)
        assert caught.value.attempts == 1

        state = await client.aget_state(config)
        assert state.values == {"query": "q", "sources": ["a.pdf", "b.pdf"]}
        assert state.next == ("analyze",)
        assert state.checkpoint_id == caught.value.checkpoint_id

        result = await client.ainvoke(None, config)
        assert result["summary"] == "q: 2 agree"
        assert runs == ["gather", "analyze", "analyze", "report"]


async def test_the_history_spans_the_runs_of_a_thread(stage: Stage) -> None:
    """Checkpoints come newest first, steps 4 to 0, each with its parent, whichever run made it."""
    graph = pipeline([])
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"query": "q"}, config)
        await client.ainvoke(None, config)
        history = [snapshot async for snapshot in client.aget_state_history(config)]
    assert [(s.metadata["step"], s.metadata["source"], s.next) for s in history if s.metadata] == [
        (4, "loop", ()),
        (3, "loop", ("report",)),
        (2, "loop", ("analyze",)),
        (1, "loop", ("gather",)),
        (0, "input", ("__start__",)),
    ]
    assert [list(s.metadata["writes"] or {}) for s in history if s.metadata] == [
        ["report"],
        ["analyze"],
        ["gather"],
        ["__start__"],
        [],
    ]
    assert history[-1].values == {}
    assert [s.parent_config for s in history] == [*(s.config for s in history[1:]), None]
    runs = await stage.runs(config["configurable"]["thread_id"])
    made_by = [str(s.checkpoint_id).rpartition(".")[0] for s in history]
    assert made_by == [runs[0].run_id] * 2 + [runs[1].run_id] * 3
