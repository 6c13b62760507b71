"""Schemas on the server: without the graph's code, in runs that are started by hand, and in other processes."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any

import pytest
from typing_extensions import TypedDict

from stepgraph import END, START, GraphClient, StateGraph
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
