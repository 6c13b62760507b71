"""When a run continues as new, and what the next run restores, on a server that suggests it after a few events."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.testing import WorkflowEnvironment

from stepgraph import END, START, Command, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.names import RESUME, UPDATE_STATE
from tests.conftest import Stage, dev_server
from tests.patience import PATIENCE, eventually
from tests.temporal.graphs import chain, side_by_side

SUGGESTED_EVENTS = 30
"""Events of a run after which the server suggests to continue as new."""


@pytest.fixture(scope="module")
async def suggesting_server() -> AsyncIterator[WorkflowEnvironment]:
    """A server that suggests to continue as new after a few events."""
    suggestion = f"limit.historyCount.suggestContinueAsNew={SUGGESTED_EVENTS}"
    async with dev_server("--dynamic-config-value", suggestion) as environment:
        yield environment


@pytest.fixture
async def stage(suggesting_server: WorkflowEnvironment) -> AsyncIterator[Stage]:
    """A stage on the server that suggests to continue as new."""
    stage = Stage(suggesting_server.client)
    yield stage
    await stage.replay()


class State(TypedDict):
    text: str
    log: Annotated[list[str], add]
    turns: int


def counting(turns: int) -> CompiledGraph:
    """Return a graph whose node runs until it has counted that many turns."""
    builder = StateGraph(State)
    builder.add_node("turn", lambda state: {"turns": state["turns"] + 1})
    builder.add_edge(START, "turn")
    builder.add_conditional_edges("turn", lambda state: END if state["turns"] >= turns else "turn", ["turn", END])
    return builder.compile(name="counting")


@pytest.mark.parametrize(("text", "several"), [("small", True), ("large" * 4_000, False)], ids=["small", "large"])
async def test_a_run_with_a_large_state_continues_as_new_later(stage: Stage, text: str, several: bool) -> None:
    """The next run's input has the whole state, so a run first makes several times as many bytes of history."""
    graph = counting(16)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        assert (await client.ainvoke({"text": text, "turns": 0}, config))["turns"] == 16
        runs = await stage.runs(config["configurable"]["thread_id"])
    assert (len(runs) > 2) is several
    if not several:
        assert len(runs) == 1
        events = (await stage.history(runs[0])).events
        assert len(events) > 2 * SUGGESTED_EVENTS


async def test_interrupts_answers_and_refused_signals_go_from_run_to_run(stage: Stage) -> None:
    """A node has more interrupts than one run's history takes; its finished sibling does not run again."""
    count = 12
    ran: list[str] = []

    def ask(state: State) -> dict[str, Any]:
        return {"log": [interrupt(f"value {n}") for n in range(count)]}

    def beside(state: State) -> dict[str, Any]:
        ran.append("beside")
        return {"turns": 1}

    builder = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_node("beside", beside)
    builder.add_edge(START, "ask").add_edge(START, "beside").add_edge("ask", END).add_edge("beside", END)
    graph = builder.compile(name="asking")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        result = await client.ainvoke({"text": "x", "log": []}, config)
        await stage.client.get_workflow_handle(thread_id).signal(RESUME, {"resume": {"0" * 16: "unexpected"}})
        for n in range(count):
            assert [pending.value for pending in result["__interrupt__"]] == [f"value {n}"]
            assert any("0000" in error for error in (await client.aget_state(config)).errors)
            result = await client.ainvoke(Command(resume=f"answer {n}"), config)
        history = [each async for each in client.aget_state_history(config)]
        runs = await stage.runs(thread_id)
    assert len(runs) > 1
    assert result["log"] == [f"answer {n}" for n in range(count)]
    assert ran == ["beside"]
    assert [each.metadata["step"] for each in history if each.metadata] == [2, 1, 0]


async def test_a_thread_that_waits_takes_any_number_of_updates(stage: Stage) -> None:
    """Updates run no node, in whichever run they are made; each returns its checkpoint, and the interrupt stays."""
    graph = chain(State, {"ask": lambda state: {"text": interrupt("well?")}}, name="updated")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        await client.ainvoke({"log": []}, config)
        for n in range(30):
            updated = await client.aupdate_state(config, {"log": [str(n)]}, as_node="human")
            assert (await client.aget_state(config)).config == updated
        runs = await stage.runs(thread_id)
        head = await client.aget_state(config)
        assert (head.next, [pending.value for pending in head.interrupts]) == (("ask",), ["well?"])
        result = await client.ainvoke(Command(resume="done"), config)
        history = [each async for each in client.aget_state_history(config)]
    assert len(runs) > 2
    assert (result["text"], result["log"]) == ("done", [str(n) for n in range(30)])
    assert [each.metadata["step"] for each in history if each.metadata] == list(range(32, -1, -1))


async def test_a_breakpoint_that_was_passed_stays_passed(stage: Stage) -> None:
    """The thread does not stop there again if the run continues as new before the super-step is complete."""
    graph = chain(State, {"ask": lambda state: {"log": [str(interrupt(n)) for n in range(8)]}}, name="passing")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"text": "x"}, config, interrupt_before=["ask"])
        result = await client.ainvoke(None, config)
        for n in range(8):
            assert [pending.value for pending in result["__interrupt__"]] == [n]
            result = await client.ainvoke(Command(resume=n), config)
        runs = await stage.runs(config["configurable"]["thread_id"])
    assert len(runs) > 1
    assert result["log"] == [str(n) for n in range(8)]


async def test_callers_wait_while_runs_continue_as_new(stage: Stage) -> None:
    """The caller of the run, another client that found it, and a queued input all get the result of the last run."""
    graph = counting(20)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        started = asyncio.ensure_future(client.ainvoke({"text": "x", "turns": 0}, config))
        run = await eventually(lambda: client.aget_run(config))
        assert run is not None
        attached, queued, result = await asyncio.gather(
            run.result(), client.ainvoke({"turns": 19}, config, on_busy="enqueue"), started
        )
        assert len(await stage.runs(config["configurable"]["thread_id"])) > 2
    assert attached["turns"] == result["turns"] == queued["turns"] == 20


def longest(left: str, right: str) -> str:
    """A reducer of the graph's own whose results are larger than its value."""
    return max(left, right, key=len)


class Text(TypedDict, total=False):
    text: Annotated[str, longest]
    notes: Annotated[list[str], add]


@pytest.mark.parametrize("signalled", [False, True], ids=["alone", "with a signal that waits"])
async def test_a_suggestion_waits_for_the_end_of_a_super_step_whose_results_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, stage: Stage, signalled: bool
) -> None:
    """A run whose results exceed what the next one takes stays until the super-step is complete; no task runs again."""
    monkeypatch.setenv("STEPGRAPH_TASKS_IN_FLIGHT", "5")
    monkeypatch.setenv("STEPGRAPH_CONTINUE_AS_NEW_TASKS", "30")
    width, calls, go_on = 40, Counter[int](), asyncio.Event()

    def node(number: int) -> Callable[[Text], Any]:
        async def write(state: Text) -> dict[str, Any]:
            calls[number] += 1
            if len(calls) > 15:
                await go_on.wait()
            return {"text": "x" * (80_000 + number)}

        return write

    nodes = {f"n{number:02}": node(number) for number in range(width)}
    graph = side_by_side(Text, nodes, lambda state: {"text": ""}, name="heavy")
    client, config = stage.use(graph), stage.thread()
    thread_id = config["configurable"]["thread_id"]
    async with stage.serving(graph):
        result = asyncio.ensure_future(client.ainvoke({"text": ""}, config))
        await eventually(lambda: len(calls) > 15)
        if signalled:
            signal = {"values": {"notes": ["by signal"]}, "as_node": "human"}
            await stage.client.get_workflow_handle(thread_id).signal(UPDATE_STATE, signal)
        go_on.set()
        assert len((await asyncio.wait_for(result, PATIENCE))["text"]) == 80_000 + width - 1
        values = (await client.aget_state(config)).values
    assert calls == Counter(range(width))
    assert values["notes"] == (["by signal"] if signalled else [])
