"""Tests of what a node receives, what it may return, and the config it is given."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import add
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from stepgraph import END, START, Runtime, StateGraph
from stepgraph.engine.ids import task_id
from stepgraph.errors import InvalidUpdateError, NodeError, PayloadTooLargeError, SerializationError
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph


class State(TypedDict, total=False):
    text: str
    count: int
    log: Annotated[list[str], add]


def run(returned: Any, state: type = State) -> dict[str, Any]:
    """Return the final state of a graph whose only node returns this."""
    return MemoryRunner(graph(state, "START > n, n > END", n=lambda view: returned)).invoke({}, THREAD)


RETURNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a mapping": ({"text": "x"}, {"text": "x", "log": []}),
    "nothing": (None, {"log": []}),
    "an empty mapping": ({}, {"log": []}),
    "a list of mappings": ([{"log": ["1"]}, {"text": "x", "log": ["2"]}], {"text": "x", "log": ["1", "2"]}),
    "a list with None in it": ([None, {"text": "x"}, None], {"text": "x", "log": []}),
    "a tuple of mappings": (({"log": ["1"]}, {"log": ["2"]}), {"log": ["1", "2"]}),
    "an empty list": ([], {"log": []}),
}


@pytest.mark.parametrize(("returned", "values"), RETURNS.values(), ids=RETURNS.keys())
def test_a_node_returns_mappings_or_nothing(returned: Any, values: dict[str, Any]) -> None:
    """Each mapping in a list that a node returns is applied as a separate write."""
    assert run(returned) == values


@dataclass
class Pair:
    left: int = 0
    right: int = 0


class Model(BaseModel):
    left: int = 0
    right: int = 0
    note: str | None = None


def test_a_node_may_return_an_instance_of_the_state() -> None:
    """A dataclass writes all its fields. A model leaves out fields that are `None` and were not set."""
    runner = MemoryRunner(graph(Pair, "START > n, n > END", n=lambda view: Pair(right=view.right + 1)))
    assert runner.invoke(Pair(5, 5), THREAD) == {"left": 0, "right": 6}
    runner = MemoryRunner(graph(Model, "START > n, n > END", n=lambda view: Model(right=view.right + 1)))
    assert runner.invoke(Model(left=5, right=5, note="kept"), THREAD) == {"left": 0, "right": 6, "note": "kept"}
    runner = MemoryRunner(graph(Model, "START > n, n > END", n=lambda view: Model(note=None)))
    assert runner.invoke(Model(note="dropped"), THREAD) == {"left": 0, "right": 0, "note": None}


def numbers() -> Iterator[int]:
    yield 1


REFUSED: dict[str, tuple[Any, str]] = {
    "a string": ("x", "Node 'n' returned str. Return a mapping of the channels it writes ('text', 'count', 'log')"),
    "a number": (5, "Node 'n' returned int."),
    "a set": ({"text"}, "Node 'n' returned set."),
    "a generator": (numbers(), "Node 'n' returned generator."),
    "a list of strings": (["x"], "Node 'n' returned str."),
    "an instance of another dataclass": (Pair(), f"Node 'n' returned {__name__}.Pair."),
    "an instance of another model": (Model(), f"Node 'n' returned {__name__}.Model."),
    "a misspelt key": ({"txt": "x"}, "Node 'n' wrote 'txt', which the state does not declare. Did you mean 'text'?"),
    "an unknown key": (
        {"zzz": 1},
        "Node 'n' wrote 'zzz', which the state does not declare. Known: 'count', 'log', 'text'.",
    ),
    "a key that is not a string": ({1: "x"}, "Node 'n' wrote 1, which the state does not declare."),
    "a value of another type": (
        {"count": "5"},
        "Node 'n': Channel 'count' is declared int and cannot take this str: expected int, got str. "
        "Write a value of the declared type, or declare the type you write.",
    ),
}


@pytest.mark.parametrize(("returned", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_other_return_values_are_an_error_of_the_node(returned: Any, message: str) -> None:
    """An invalid return value raises a `NodeError` that is an `InvalidUpdateError` and says what a node may return."""
    with pytest.raises(InvalidUpdateError) as caught:
        run(returned)
    assert isinstance(caught.value, NodeError)
    assert message in caught.value.message


def test_a_value_that_cannot_be_encoded_is_an_error_with_channel_and_type() -> None:
    """The error for a value without JSON has the channel, the value's type and the nodes as attributes."""
    with pytest.raises(SerializationError) as caught:
        run({"text": b"bytes"})
    assert isinstance(caught.value, NodeError)
    assert (caught.value.channel, caught.value.value_type, caught.value.nodes) == ("text", "bytes", ["n"])


def test_writes_larger_than_a_payload_are_refused() -> None:
    """A node that writes more than a payload holds fails without retry; the error names the channel and its size."""
    with pytest.raises(
        PayloadTooLargeError, match=r"What node 'n' wrote has 2,000,003 bytes, of which channel 'text' has 2,000,002"
    ) as caught:
        run({"text": "x" * 2_000_000, "count": 1})
    assert (caught.value.channel, caught.value.size, caught.value.limit) == ("text", 2_000_002, 1_900_000)


def test_a_state_larger_than_a_payload_is_refused_at_the_commit() -> None:
    """Small writes may make a state too large to commit. The values stay readable, and the last write on its task."""
    runner = MemoryRunner(
        graph(
            State,
            "START > a, a > b, b > END",
            a=lambda state: {"log": ["x" * 1_000_000]},
            b=lambda state: {"log": ["x" * 1_000_000]},
        )
    )
    with pytest.raises(
        PayloadTooLargeError, match=r"The state of thread 't1' has 2,000,0\d\d bytes, of which channel 'log'"
    ):
        runner.invoke({}, THREAD)
    head = runner.get_state(THREAD)
    assert (len(head.values["log"]), head.next) == (1, ("b",))
    assert [len(task.result["log"][0]) for task in head.tasks if task.result] == [1_000_000]


def test_a_node_that_mutates_its_state_affects_nothing_else() -> None:
    """Siblings, routers, checkpoints and the caller's input keep their own values."""
    seen: list[Any] = []

    def mutate(state: State) -> None:
        seen.append(list(state["log"]))
        state["log"].append("mutated")
        state["text"] = "mutated"

    def mutate_and_end(state: State) -> str:
        seen.append(list(state["log"]))
        state["log"].append("mutated")
        return END

    builder = StateGraph(State).add_node("a", mutate).add_node("b", mutate)
    builder.add_edge(START, "a").add_edge(START, "b").add_conditional_edges("a", mutate_and_end).add_edge("b", END)
    runner = MemoryRunner(builder.compile(name="g"))
    input_data = {"text": "in", "log": ["in"]}
    assert runner.invoke(input_data, THREAD) == {"text": "in", "log": ["in"]}
    assert seen == [["in"]] * 3
    assert {tuple(s.values.get("log", ())) for s in runner.get_state_history(THREAD)} == {(), ("in",)}
    assert input_data == {"text": "in", "log": ["in"]}


def test_changing_a_returned_value_later_changes_no_checkpoint() -> None:
    """A node's result is copied when the node returns it."""
    returned: list[str] = []

    def writer(state: State) -> dict[str, Any]:
        returned.append("more")
        return {"log": returned}

    runner = MemoryRunner(graph(State, "START > a, a > b, b > END", a=writer, b=writer))
    assert runner.invoke({}, THREAD)["log"] == ["more", "more", "more"]
    returned.clear()
    assert [len(s.values.get("log", ())) for s in runner.get_state_history(THREAD)] == [3, 1, 0, 0]


def test_nodes_and_routers_with_a_config_parameter_receive_the_config() -> None:
    """The `config` of a node or router is LangGraph's config, with the task's place in its metadata."""
    configs: dict[str, Any] = {}

    def plain(state: State, config: dict[str, Any]) -> None:
        configs["plain"] = config

    async def keyword(state: State, *, config: Any = None) -> None:
        configs["keyword"] = config

    def without(state: State) -> None:
        configs["without"] = None

    def router(state: State, config: Any) -> str:
        configs["router"] = config
        return END

    builder = StateGraph(State).add_node(plain).add_node(keyword).add_node(without)
    for name in ("plain", "keyword", "without"):
        builder.add_edge(START, name).add_edge(name, END)
    builder.add_conditional_edges("plain", router)
    config = {
        "configurable": {"thread_id": "t1", "user": "ada"},
        "tags": ["nightly"],
        "metadata": {"team": "x"},
        "recursion_limit": 9,
    }
    MemoryRunner(builder.compile(name="g")).invoke({}, config)
    for name in ("plain", "router"):  # functions of LangGraph look for these
        assert isinstance(configs[name]["configurable"].pop("__pregel_runtime"), Runtime)
    for key in ("__pregel_scratchpad", "__pregel_send", "__pregel_task_id", "checkpoint_ns"):
        assert configs["plain"]["configurable"].pop(key)
    assert configs["plain"] == {
        "configurable": {"user": "ada", "thread_id": "t1", "checkpoint_id": "run-0001.000002"},
        "tags": ["nightly"],
        "metadata": {
            "team": "x",
            "thread_id": "t1",
            "langgraph_step": 2,
            "langgraph_node": "plain",
            "langgraph_triggers": ("branch:to:plain",),
            "langgraph_path": ("__pregel_pull", "plain"),
            "langgraph_checkpoint_ns": f"plain:{task_id('run-0001.000002', 'plain')}",
            "graph": "g",
            "node": "plain",
            "step": 2,
            "run_id": "run-0001",
            "task_id": task_id("run-0001.000002", "plain"),
            "attempt": 1,
            "idempotency_key": f"t1/run-0001.000002/{task_id('run-0001.000002', 'plain')}",
        },
    }
    assert configs["router"] == configs["plain"]
    keyword_id = task_id("run-0001.000002", "keyword")
    assert configs["keyword"]["metadata"]["idempotency_key"] == f"t1/run-0001.000002/{keyword_id}"
    assert set(configs) == {"plain", "keyword", "without", "router"}


def test_each_task_has_its_own_copy_of_the_config() -> None:
    """What a node changes in its config affects neither other nodes nor the caller."""

    def mutate(state: State, config: dict[str, Any]) -> dict[str, Any]:
        seen = [*config["tags"], *config["configurable"]["list"]]
        config["tags"].append("x")
        config["configurable"]["list"].append("x")
        return {"log": seen}

    runner = MemoryRunner(graph(State, "START > a, START > b, a > c, b > END, c > END", a=mutate, b=mutate, c=mutate))
    config = {"configurable": {"thread_id": "t1", "list": ["l"]}, "tags": ["t"]}
    assert runner.invoke({}, config)["log"] == ["t", "l"] * 3
    assert config == {"configurable": {"thread_id": "t1", "list": ["l"]}, "tags": ["t"]}


async def test_the_idempotency_key_is_the_same_on_every_attempt() -> None:
    """All attempts at a task share an idempotency key; another checkpoint, thread or task has another one."""
    keys: list[tuple[int, str]] = []

    def node(state: State, config: dict[str, Any]) -> None:
        keys.append((config["metadata"]["attempt"], config["metadata"]["idempotency_key"]))

    registry = graph(State, "START > n, n > END", n=node).registry
    code = RunCode(registry, registry.spec)
    request = TaskRequest(
        graph="g", node="n", step=2, thread_id="t", run_id="r", checkpoint_id="r.2", task_id="n", spec_hash="h"
    )
    for attempt in (1, 2, 3):
        await run_task(code, request, {}, run_sync=asyncio.to_thread, attempt=attempt)
    assert keys == [(1, "t/r.2/n"), (2, "t/r.2/n"), (3, "t/r.2/n")]
    for change in ({"checkpoint_id": "r.3"}, {"thread_id": "u"}, {"task_id": "m"}):
        assert request.model_copy(update=change).idempotency_key != request.idempotency_key
    carried_over = request.model_copy(update={"checkpoint_id": "r.3", "planned_at": "r.2"})
    assert carried_over.idempotency_key == request.idempotency_key


def test_a_resumed_task_has_the_key_of_its_failed_attempt() -> None:
    """A resumed task keeps its idempotency key, so an external service can recognise the repetition."""
    keys: list[str] = []

    def shaky(state: State, config: dict[str, Any]) -> None:
        keys.append(config["metadata"]["idempotency_key"])
        if len(keys) == 1:
            raise ConnectionError

    runner = MemoryRunner(graph(State, "START > n, n > n2, n2 > END", n=shaky, n2=shaky))
    with pytest.raises(ConnectionError):
        runner.invoke({}, THREAD)
    runner.invoke(None, THREAD)
    first, second = task_id("run-0001.000002", "n"), task_id("run-0002.000001", "n2")
    assert keys == [f"t1/run-0001.000002/{first}"] * 2 + [f"t1/run-0002.000001/{second}"]


LANGUAGE = contextvars.ContextVar("language", default="none")


async def test_a_node_sees_the_callers_context() -> None:
    """Context variables are set in async nodes and in sync nodes, which run on other threads."""
    LANGUAGE.set("en")

    async def later(state: State) -> dict[str, Any]:
        return {"log": [LANGUAGE.get()]}

    compiled = graph(State, "START > a, a > b, b > END", a=later, b=lambda state: {"log": [LANGUAGE.get()]})
    assert (await MemoryRunner(compiled).ainvoke({}, THREAD))["log"] == ["en", "en"]
    assert MemoryRunner(compiled).invoke({}, THREAD)["log"] == ["en", "en"]


class Moment(TypedDict, total=False):
    at: datetime
    pair: Pair
    pairs: Annotated[list[Pair], add]


def test_an_input_is_converted_to_the_declared_types() -> None:
    """A string becomes a datetime and a mapping a dataclass before a node sees them."""
    seen: list[Any] = []
    compiled = graph(Moment, "START > n, n > END", n=lambda state: seen.append(state))
    input_data = {"at": "2024-01-02T03:04:05", "pair": {"left": 1}, "pairs": [{"right": 2}, Pair(3)]}
    expected = {"at": datetime(2024, 1, 2, 3, 4, 5), "pair": Pair(1, 0), "pairs": [Pair(0, 2), Pair(3, 0)]}
    assert MemoryRunner(compiled).invoke(input_data, THREAD) == expected
    assert seen == [expected]
