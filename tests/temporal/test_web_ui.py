"""What the Web UI and searches show of a thread: current details, search attributes, and the origin of forks."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.patience import eventually
from tests.temporal.terminal import thread_id
from tests.temporal.web_ui import details_page


class Review(TypedDict):
    notes: Annotated[list[str], add]


def review_graph() -> CompiledGraph:
    """Return a graph of draft and review, which has an interrupt."""
    builder = StateGraph(Review)
    builder.add_node("draft", lambda state: {"notes": ["draft"]})
    builder.add_node("review", lambda state: {"notes": [interrupt({"good": "or | not?"})]})
    builder.add_edge(START, "draft").add_edge("draft", "review")
    return builder.add_edge("review", END).compile(name="review")


async def page_and_attributes(stage: Stage, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the current details and the search attributes of a thread."""
    description = await stage.client.get_workflow_handle(thread_id(config)).describe()
    attributes = {pair.key.name: pair.value for pair in description.typed_search_attributes}
    return await details_page(stage, config), attributes


async def test_the_page_of_a_waiting_thread_has_its_interrupt_and_how_to_answer(stage: Stage) -> None:
    """The page of a waiting thread has the interrupt, the signal's JSON and the last super-steps. A search finds it."""
    graph = review_graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"notes": []}, config)
        page, attributes = await page_and_attributes(stage, config)
        assert page.startswith("**waiting** after step 2; next: `review`.")
        assert '"good": "or | not?"' in page
        assert '{"resume": "your answer"}' in page
        assert "| 2 | loop | `draft`: notes | `review` |" in page
        assert attributes["StepgraphGraph"] == "review"
        assert (attributes["StepgraphStatus"], attributes["StepgraphWaitsFor"]) == ("waiting", "review")
        query = f"StepgraphStatus = 'waiting' AND StepgraphWaitsFor = 'review' AND WorkflowId = '{thread_id(config)}'"

        async def is_listed() -> bool:
            return [each async for each in stage.client.list_workflows(query)] != []

        await eventually(is_listed)
        await client.ainvoke(Command(resume="yes"), config)
        page, attributes = await page_and_attributes(stage, config)
        assert page.startswith("**complete** after step 3; the graph has finished.")
        assert attributes["StepgraphStatus"] == "complete"
        assert "StepgraphWaitsFor" not in attributes


async def test_a_failed_thread_is_found_by_its_status(stage: Stage) -> None:
    """The page of a failed thread names the node and its error. A search attribute has the status."""
    builder = StateGraph(Review)

    def broken(state: Review) -> None:
        raise ConnectionError("no | route")

    graph = builder.add_node(broken).add_edge(START, "broken").add_edge("broken", END).compile(name="broken")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with pytest.raises(ConnectionError):
            await client.ainvoke({"notes": []}, config)
        page, attributes = await page_and_attributes(stage, config)
    assert page.startswith("**failed** after step 1; next: `broken`.")
    assert "`broken` failed: ConnectionError: no \\| route" in page
    assert attributes["StepgraphStatus"] == "failed"


async def test_the_page_of_a_thread_hides_the_texts_of_errors(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With STEPGRAPH_ERROR_TEXTS=hidden the page has the node and the error's type, and that a signal was refused."""
    builder = StateGraph(Review)

    def broken(state: Review) -> None:
        if len(state["notes"]) == 1:
            raise ConnectionError(f"no route for {interrupt('when?')} and {state['notes']}")

    graph = builder.add_node(broken).add_edge(START, "broken").add_edge("broken", END).compile(name="broken")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        with monkeypatch.context() as patched:
            patched.setenv("STEPGRAPH_ERROR_TEXTS", "hidden")
            await client.ainvoke({"notes": ["secret"]}, config)
        handle = stage.client.get_workflow_handle(thread_id(config))
        await handle.signal("update_state", {"values": {"secret": 1}})
        with pytest.raises(ConnectionError, match="secret"):
            await client.ainvoke(Command(resume="today"), config)
        page, attributes = await page_and_attributes(stage, config)
    assert "`broken` failed: ConnectionError" in page
    assert "Signals that were refused: 1. The thread's state has the reasons." in page
    assert "secret" not in page
    assert "secret" not in str(attributes)


async def test_the_forks_of_a_thread_are_found_from_it(stage: Stage) -> None:
    """A search attribute of a fork names its source."""
    graph = review_graph()
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"notes": []}, config)
        fork = stage.thread()
        await client.afork(config, thread_id=thread_id(fork))
        assert await eventually(lambda: client.aget_forks(config)) == [fork]
