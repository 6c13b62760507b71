"""Threads that wait: interrupts, their answers, deadlines and breakpoints."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from temporalio.api.enums.v1 import EventType

from stepgraph import END, START, StateGraph
from stepgraph.errors import InvalidUpdateError
from stepgraph.execution.scratchpad import interrupt
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.interrupts import Command, Interrupt
from tests.conftest import Stage
from tests.patience import eventually


class Review(TypedDict):
    text: str
    notes: Annotated[list[str], add]


def review_graph(runs: list[str], **options: Any) -> CompiledGraph:
    """Return a graph of draft, review and publish. Review has two interrupts."""

    def draft(state: Review) -> dict[str, Any]:
        runs.append("draft")
        return {"text": "a draft"}

    def review(state: Review) -> dict[str, Any]:
        runs.append("review")
        verdict = interrupt({"question": "good?", "text": state["text"]})
        reason = interrupt("why?")
        return {"notes": [f"{verdict}: {reason}"]}

    async def publish(state: Review) -> dict[str, Any]:
        runs.append("publish")
        return {"text": state["text"].upper()}

    builder = StateGraph(Review)
    builder.add_node(draft).add_node(review).add_node(publish)
    builder.add_edge(START, "draft").add_edge("draft", "review").add_edge("review", "publish")
    return builder.add_edge("publish", END).compile(name="review", **options)


async def test_a_node_with_interrupts_goes_on_with_the_answers(stage: Stage) -> None:
    """An interrupt makes no checkpoint; the node runs again from its beginning, and answers match by their order."""
    runs: list[str] = []
    graph = review_graph(runs)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        waiting = await client.ainvoke({"text": ""}, config)
        (first,) = waiting["__interrupt__"]
        assert isinstance(first, Interrupt)
        assert first.value == {"question": "good?", "text": "a draft"}
        state = await client.aget_state(config)
        assert (state.next, state.interrupts, state.tasks[0].interrupts) == (("review",), (first,), (first,))
        assert state.metadata is not None
        assert state.metadata["step"] == 2
        (second,) = (await client.ainvoke(Command(resume="yes"), config))["__interrupt__"]
        assert second.value == "why?"
        assert second.id != first.id
        with pytest.raises(InvalidUpdateError, match=f"No interrupt '{first.id}' waits"):
            await client.ainvoke(Command(resume={first.id: "late"}), config)
        done = await client.ainvoke(Command(resume={second.id: "because"}), config)
        assert done == {"text": "A DRAFT", "notes": ["yes: because"]}
        assert runs == ["draft", "review", "review", "review", "publish"]
        history = [s async for s in client.aget_state_history(config)]
        assert [s.metadata["step"] for s in history if s.metadata] == [4, 3, 2, 1, 0]
        with pytest.raises(InvalidUpdateError, match="does not wait for an answer"):
            await client.ainvoke(Command(resume="again"), config)


async def test_interrupts_of_parallel_nodes_are_answered_in_any_order(stage: Stage) -> None:
    """A sibling without an interrupt finishes. Each answer names its interrupt, and comes by a call or by a signal."""
    runs: list[str] = []
    builder = StateGraph(Review)

    def asking(name: str) -> Any:
        def node(state: Review) -> dict[str, Any]:
            runs.append(name)
            return {"notes": [f"{name}: {interrupt(name)}"]}

        return node

    def plain(state: Review) -> dict[str, Any]:
        runs.append("plain")
        return {"notes": ["plain"]}

    for name in ("a", "b"):
        builder.add_node(name, asking(name)).add_edge(START, name).add_edge(name, END)
    builder.add_node(plain).add_edge(START, "plain").add_edge("plain", END)
    graph = builder.compile(name="parallel_interrupts")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        a, b = (await client.ainvoke({"text": ""}, config))["__interrupt__"]
        with pytest.raises(InvalidUpdateError, match="2 interrupts wait for answers"):
            await client.ainvoke(Command(resume="which"), config)
        waiting = await client.ainvoke(Command(resume={b.id: "B"}), config)
        assert waiting["__interrupt__"] == [a]
        assert (await client.aget_state(config)).next == ("a",)
        run = await client.aget_run(config)
        assert run is not None
        handle = stage.client.get_workflow_handle(run.thread_id)
        await handle.signal("resume", {"resume": {a.id: "A"}})
        assert (await run.result())["notes"] == ["a: A", "b: B", "plain"]
        assert sorted(runs) == ["a", "a", "b", "b", "plain"]


async def test_a_deadline_answers_with_the_default(stage: Stage) -> None:
    """If no answer comes before the deadline, a durable timer gives the default."""
    builder = StateGraph(Review)
    builder.add_node("ask", lambda state: {"notes": [interrupt("ok?", timeout=float(state["text"]), default="nobody")]})
    graph = builder.add_edge(START, "ask").add_edge("ask", END).compile(name="deadline")
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"text": "0.5"}, config)

        async def has_finished() -> bool:
            return not (await client.aget_state(config)).next

        await eventually(has_finished)
        assert (await client.aget_state(config)).values["notes"] == ["nobody"]
        (run,) = await stage.runs(config["configurable"]["thread_id"])
        events = [event.event_type for event in (await stage.history(run)).events]
        assert EventType.EVENT_TYPE_TIMER_FIRED in events
        early = stage.thread()
        (pending,) = (await client.ainvoke({"text": "3600"}, early))["__interrupt__"]
        assert pending.deadline is not None
        assert (await client.ainvoke(Command(resume="in time"), early))["notes"] == ["in time"]


async def test_breakpoints_stop_a_thread_before_and_after_nodes(stage: Stage) -> None:
    """Breakpoints are set at compile or for one invoke; each `invoke(None)` goes on to the next one."""
    runs: list[str] = []
    builder = StateGraph(Review)
    for name in ("one", "two", "three"):
        builder.add_node(name, lambda state, name=name: runs.append(name))
    builder.add_edge(START, "one").add_edge("one", "two").add_edge("two", "three").add_edge("three", END)
    graph = builder.compile(name="breakpoints", interrupt_before=["two"], interrupt_after=["two"])
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        for expected in (["one"], ["one", "two"], ["one", "two", "three"]):
            input_data = {"text": ""} if expected == ["one"] else None
            result = await client.ainvoke(input_data, config)
            assert "__interrupt__" not in result
            assert runs == expected
        assert (await client.aget_state(config)).next == ()
        again = stage.thread()
        await client.ainvoke({"text": ""}, again, interrupt_before="*", interrupt_after=[])
        assert (await client.aget_state(again)).next == ("one",)


async def test_a_waiting_thread_takes_updates_and_inputs(stage: Stage) -> None:
    """An update as the waiting node replaces its answer; a new input discards the interrupt."""
    runs: list[str] = []
    graph = review_graph(runs)
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"text": ""}, config)
        await client.aupdate_state(config, {"notes": ["by hand"]}, as_node="review")
        state = await client.aget_state(config)
        assert (state.next, state.values["notes"], state.interrupts) == (("publish",), ["by hand"], ())
        assert (await client.ainvoke(None, config))["text"] == "A DRAFT"
        again = stage.thread()
        await client.ainvoke({"text": ""}, again)
        (pending,) = (await client.ainvoke(None, again))["__interrupt__"]
        result = await client.ainvoke({"text": "x"}, again)
        assert result["__interrupt__"][0].id != pending.id


async def test_a_thread_that_waits_survives_its_worker(stage: Stage) -> None:
    """Another worker goes on with a waiting thread. If its run was terminated, the next run takes the answer."""
    graph = review_graph([])
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"text": ""}, config)
    async with stage.serving(graph):
        (second,) = (await client.ainvoke(Command(resume="yes"), config))["__interrupt__"]
        await stage.client.get_workflow_handle(config["configurable"]["thread_id"]).terminate()
        assert (await client.aget_state(config)).interrupts == (second,)
        done = await client.ainvoke(Command(resume="because"), config)
        assert done["notes"] == ["yes: because"]


async def test_an_update_of_a_terminated_waiting_thread_keeps_its_answers(stage: Stage) -> None:
    """The record of a thread has the interrupts and the answers that the waiting node has had."""
    graph = review_graph([])
    client, config = stage.use(graph), stage.thread()
    async with stage.serving(graph):
        await client.ainvoke({"text": ""}, config)
        await client.ainvoke(Command(resume="yes"), config)
        await client.aupdate_state(config, {"text": "edited"}, as_node="human")
        state = await client.aget_state(config)
        assert state.interrupts[0].value == "why?"
        assert (await client.ainvoke(Command(resume="because"), config))["text"] == "EDITED"
