"""Schemas on the server: without the graph's code, in runs that are started by hand, and in other processes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, Command, GraphClient, Runtime, StateGraph, interrupt
from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage


class State(TypedDict, total=False):
    question: str
    answer: str
    log: Annotated[list[str], add]


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: str


class Notes(TypedDict):
    notes: list[str]


def take_notes(state: Question) -> dict[str, Any]:
    return {"notes": [state["question"]], "log": ["take"]}


def write(state: Notes) -> dict[str, Any]:
    return {"answer": ", ".join(state["notes"])}


def essay(durability: Any) -> CompiledGraph:
    builder = StateGraph(State, input_schema=Question, output_schema=Answer)
    builder.add_node("take", take_notes).add_node("write", write)
    builder.add_edge(START, "take").add_edge("take", "write").add_edge("write", END)
    return builder.compile(name="essay", durability=durability)


def numbers() -> CompiledGraph:
    builder = StateGraph(Annotated[list, add]).add_node("count", lambda state: [len(state)])
    return builder.add_edge(START, "count").add_edge("count", END).compile(name="numbers")


@pytest.mark.parametrize("durability", ["sync", "async"])
async def test_a_client_without_the_code_sees_what_one_with_it_sees(stage: Stage, durability: Any) -> None:
    """The spec says which keys an input sets and a result shows, so a client without the schema does the same."""
    graph = essay(durability)
    async with stage.serving(graph):
        with_code, config = stage.use(graph), stage.thread()
        without_code = GraphClient(stage.client, "essay", task_queue=stage.task_queue)
        assert await without_code.ainvoke({"question": "why", "answer": "ignored"}, config) == {"answer": "why"}
        await with_code.aupdate_state(config, {"notes": ["by hand"]}, as_node="take")
        assert await with_code.ainvoke(None, config) == {"answer": "by hand"}
    values = {"question": "why", "answer": "by hand", "log": ["take"], "notes": ["by hand"]}
    assert (await without_code.aget_state(config)).values == values


async def test_a_state_of_one_value_is_started_and_read_by_hand(stage: Stage) -> None:
    """A run that is started by hand takes the value itself, and so do signals; a reader without code gets it."""
    graph = numbers()
    async with stage.serving(graph):
        config = stage.thread()
        thread_id = config["configurable"]["thread_id"]
        handle = await stage.client.start_workflow("numbers", ["a"], id=thread_id, task_queue=stage.task_queue)
        await handle.result()
        without_code = GraphClient(stage.client, "numbers", task_queue=stage.task_queue)
        await without_code.aupdate_state(config, ["b"], as_node="human")
        assert await without_code.ainvoke(["c"], config) == ["a", 1, "b", "c", 4]
        assert await stage.use(graph).ainvoke(["d"], config) == ["a", 1, "b", "c", 4, "d", 6]
    assert (await without_code.aget_state(config)).values == ["a", 1, "b", "c", 4, "d", 6]


@dataclass
class Reader:
    name: str


async def test_a_context_goes_to_every_task(stage: Stage) -> None:
    """Nodes in other processes get it, fused ones, routers, and those after an answer; a queued input has its own."""

    def greet(state: State, runtime: Runtime[Reader]) -> dict[str, Any]:
        return {"log": [runtime.context.name]}

    def ask(state: State, runtime: Runtime[Reader]) -> dict[str, Any]:
        return {"log": [interrupt("?"), runtime.context.name]}

    builder = StateGraph(State, Reader)
    builder.add_node("greet", greet).add_node("fused", greet, durability="async").add_node("ask", ask)
    builder.add_edge(START, "greet").add_edge("greet", "fused").add_edge("ask", END)
    builder.add_conditional_edges("fused", lambda state, runtime: runtime.context.name, {"ann": "ask", "bob": END})
    graph = builder.compile(name="greeting")
    async with stage.serving(graph):
        client, config = stage.use(graph), stage.thread()
        await client.ainvoke({}, config, context={"name": "ann"})
        answered = await client.ainvoke(Command(resume="yes"), config)
        assert answered == {"log": ["ann", "ann", "yes", "ann"]}
        assert await client.ainvoke({}, config, context=Reader("bob"), output_keys="log") == [
            *answered["log"],
            "bob",
            "bob",
        ]
        without_code = GraphClient(stage.client, "greeting", task_queue=stage.task_queue)
        assert (await without_code.ainvoke({}, stage.thread(), context={"name": "bob"}))["log"] == ["bob", "bob"]


async def test_a_durability_of_the_invoke_replaces_that_of_the_graph(stage: Stage) -> None:
    """With ``"exit"``, all super-steps up to the interrupt are one activity, and all after the answered task."""
    names = ["a", "b", "c", "d", "e"]
    builder = StateGraph(State)
    for name in names:
        asks = name == "c"
        builder.add_node(name, lambda state, asks=asks, name=name: {"log": [interrupt("?") if asks else name]})
    for source, target in pairwise([START, *names, END]):
        builder.add_edge(source, target)
    graph = builder.compile(name="letters")
    async with stage.serving(graph):
        client = stage.use(graph)
        rows = {}
        for durability in ("sync", "async", "exit"):
            config = stage.thread()
            await client.ainvoke({}, config, durability=durability)
            await client.ainvoke(Command(resume="C"), config)
            assert (await client.aget_state(config)).values == {"log": ["a", "b", "C", "d", "e"]}
            assert len([each async for each in client.aget_state_history(config)]) == 7
            rows[durability] = await activities(stage, config)
    assert rows["exit"] == ["letters.steps", "letters.c", "letters.steps"]
    assert rows["sync"] == [f"letters.{name}" for name in "abccde"]
    assert set(rows["async"]) == {"letters.steps", "letters.c"}


async def activities(stage: Stage, config: dict[str, Any]) -> list[str]:
    """Return the activities of a thread's latest run by their types, in order."""
    history = await stage.history((await stage.runs(config["configurable"]["thread_id"]))[0])
    return [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
