"""What the Web UI and searches show of a thread: current details, search attributes, where forks come from."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage


class Review(TypedDict):
    notes: Annotated[list[str], add]


def asks() -> CompiledGraph:
    builder = StateGraph(Review)
    builder.add_node("draft", lambda state: {"notes": ["draft"]})
    builder.add_node("review", lambda state: {"notes": [interrupt({"good": "or | not?"})]})
    builder.add_edge(START, "draft").add_edge("draft", "review")
    return builder.add_edge("review", END).compile(name="shown")


async def shown(stage: Stage, thread_id: str) -> tuple[str, dict[str, Any]]:
    """The current details, and the search attributes."""
    described = await stage.client.get_workflow_handle(thread_id).describe()
    details: Any = await stage.client.get_workflow_handle(thread_id).query("__temporal_workflow_metadata")
    found = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    return details.current_details, found


async def test_a_waiting_thread_says_what_it_waits_for_and_how_to_answer(stage: Stage) -> None:
    """The page has the question, the signal's JSON, and the last super-steps; the attributes find it."""
    graph = asks()
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"notes": []}, config)
        page, found = await shown(stage, thread_id)
        assert page.startswith("**waiting** after step 2; next: `review`.")
        assert '"good": "or | not?"' in page
        assert '{"resume": "your answer"}' in page
        assert "| 2 | loop | `draft`: notes | `review` |" in page
        assert found["StepgraphGraph"] == "shown"
        assert (found["StepgraphStatus"], found["StepgraphWaitsFor"]) == ("waiting", "review")
        query = f"StepgraphStatus = 'waiting' AND StepgraphWaitsFor = 'review' AND WorkflowId = '{thread_id}'"
        while not [each async for each in stage.client.list_workflows(query)]:
            await asyncio.sleep(0.1)
        await client.ainvoke(Command(resume="yes"), config)
        page, found = await shown(stage, thread_id)
        assert page.startswith("**complete** after step 3; the graph is done.")
        assert found["StepgraphStatus"] == "complete"
        assert "StepgraphWaitsFor" not in found


async def test_a_failed_thread_is_found_by_its_status(stage: Stage) -> None:
    """The page names the node and the reason."""
    builder = StateGraph(Review)

    def broken(state: Review) -> None:
        raise ConnectionError("no | route")

    graph = builder.add_node(broken).add_edge(START, "broken").add_edge("broken", END).compile(name="shown_failure")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"notes": []}, config)
        page, found = await shown(stage, config["configurable"]["thread_id"])
    assert page.startswith("**failed** after step 1; next: `broken`.")
    assert "`broken` failed: ConnectionError: no \\| route" in page
    assert found["StepgraphStatus"] == "failed"


async def test_the_forks_of_a_thread_are_found_from_it(stage: Stage) -> None:
    """By a search attribute; and the fork's first checkpoint names its source."""
    graph = asks()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"notes": []}, config)
        fork = stage.thread()["configurable"]["thread_id"]
        await client.afork(config, thread_id=fork)
        while not (forks := await client.aget_forks(config)):
            await asyncio.sleep(0.1)
        assert forks == [{"configurable": {"thread_id": fork}}]
