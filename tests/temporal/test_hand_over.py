"""When a run hands over to the next, and what goes with it, on a server that suggests it after a few events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.testing import WorkflowEnvironment

from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import RESUME
from tests.conftest import Stage, dev_server
from tests.temporal.graphs import chain

SUGGESTS_AFTER = 30


@pytest.fixture(scope="module")
async def suggesting() -> AsyncIterator[WorkflowEnvironment]:
    """A server that suggests to continue as new after a few events."""
    suggestion = f"limit.historyCount.suggestContinueAsNew={SUGGESTS_AFTER}"
    async with dev_server("--dynamic-config-value", suggestion) as environment:
        yield environment


@pytest.fixture
async def stage(suggesting: WorkflowEnvironment) -> AsyncIterator[Stage]:
    """A stage on that server."""
    stage = Stage(suggesting.client)
    yield stage
    await stage.replay()


class State(TypedDict):
    text: str
    log: Annotated[list[str], add]
    turns: int


def counting(turns: int) -> CompiledGraph:
    builder = StateGraph(State)
    builder.add_node("turn", lambda state: {"turns": state["turns"] + 1})
    builder.add_edge(START, "turn")
    builder.add_conditional_edges("turn", lambda state: END if state["turns"] >= turns else "turn", ["turn", END])
    return builder.compile(name="counting")


@pytest.mark.parametrize(("text", "several"), [("small", True), ("large" * 4_000, False)], ids=["small", "large"])
async def test_a_suggestion_waits_for_a_large_state(stage: Stage, text: str, several: bool) -> None:
    """A hand-over writes the state anew, so it comes when the history has several times that."""
    graph = counting(16)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert (await client.ainvoke({"text": text, "turns": 0}, config))["turns"] == 16
        runs = await stage.runs(config["configurable"]["thread_id"])
    assert (len(runs) > 2) is several
    if not several:
        assert len(runs) == 1
        events = (await stage.history(runs[0])).events
        assert len(events) > 2 * SUGGESTS_AFTER


async def test_questions_answers_and_refused_signals_go_from_run_to_run(stage: Stage) -> None:
    """A node asks more than a run's history takes; its finished sibling is not run again."""
    questions = 12
    ran: list[str] = []

    def asks(state: State) -> dict[str, Any]:
        return {"log": [interrupt(f"question {n}") for n in range(questions)]}

    def beside(state: State) -> dict[str, Any]:
        ran.append("beside")
        return {"turns": 1}

    builder = StateGraph(State)
    builder.add_node("asks", asks)
    builder.add_node("beside", beside)
    builder.add_edge(START, "asks").add_edge(START, "beside").add_edge("asks", END).add_edge("beside", END)
    graph = builder.compile(name="asking")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        result = await client.ainvoke({"text": "x", "log": []}, config)
        await stage.client.get_workflow_handle(thread_id).signal(RESUME, {"resume": {"0" * 16: "to nobody"}})
        for n in range(questions):
            assert [asked.value for asked in result["__interrupt__"]] == [f"question {n}"]
            assert any("0000" in error for error in (await client.aget_state(config)).errors)
            result = await client.ainvoke(Command(resume=f"answer {n}"), config)
        history = [each async for each in client.aget_state_history(config)]
        runs = await stage.runs(thread_id)
    assert len(runs) > 1
    assert result["log"] == [f"answer {n}" for n in range(questions)]
    assert ran == ["beside"]
    assert [each.metadata["step"] for each in history if each.metadata] == [2, 1, 0]


async def test_a_thread_that_waits_takes_any_number_of_updates(stage: Stage) -> None:
    """They run nothing, in whichever run they are made; every one has its answer, and the question waits on."""
    graph = chain(State, {"asks": lambda state: {"text": interrupt("well?")}}, name="updated")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"log": []}, config)
        for n in range(30):
            made = await client.aupdate_state(config, {"log": [str(n)]}, as_node="human")
            assert (await client.aget_state(config)).config == made
        runs = await stage.runs(thread_id)
        head = await client.aget_state(config)
        assert (head.next, [asked.value for asked in head.interrupts]) == (("asks",), ["well?"])
        result = await client.ainvoke(Command(resume="done"), config)
        history = [each async for each in client.aget_state_history(config)]
    assert len(runs) > 2
    assert (result["text"], result["log"]) == ("done", [str(n) for n in range(30)])
    assert [each.metadata["step"] for each in history if each.metadata] == list(range(32, -1, -1))


async def test_a_breakpoint_that_was_passed_stays_passed(stage: Stage) -> None:
    """Also where the step behind it is not done when the run hands over."""
    graph = chain(State, {"asks": lambda state: {"log": [str(interrupt(n)) for n in range(8)]}}, name="passing")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"text": "x"}, config, interrupt_before=["asks"])
        result = await client.ainvoke(None, config)
        for n in range(8):
            assert [asked.value for asked in result["__interrupt__"]] == [n]
            result = await client.ainvoke(Command(resume=n), config)
        runs = await stage.runs(config["configurable"]["thread_id"])
    assert len(runs) > 1
    assert result["log"] == [str(n) for n in range(8)]


async def test_callers_wait_across_hand_overs(stage: Stage) -> None:
    """One that watches from outside, and one in line, beside the one who started it."""
    graph = counting(20)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        started = asyncio.ensure_future(client.ainvoke({"text": "x", "turns": 0}, config))
        while (run := await client.aget_run(config)) is None:
            await asyncio.sleep(0.02)
        found, queued, result = await asyncio.gather(
            run.result(), client.ainvoke({"turns": 19}, config, on_busy="enqueue"), started
        )
        assert len(await stage.runs(config["configurable"]["thread_id"])) > 2
    assert found["turns"] == result["turns"] == queued["turns"] == 20
