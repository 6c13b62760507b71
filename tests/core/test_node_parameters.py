"""Tests of what nodes and routers may take, and of how objects other than functions are called."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from operator import add
from typing import Annotated, Any, Optional

import pytest
from langchain_core.runnables import RunnableConfig as LangChainConfig
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.runtime import Runtime as LangGraphRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import StreamWriter as LangGraphWriter
from typing_extensions import TypedDict

from stepgraph import END, START, RunnableConfig, Runtime, StateGraph, StreamWriter, get_config
from stepgraph.execution.node_parameters import NodeParameters, parameters_of
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph


class State(TypedDict, total=False):
    text: str
    log: Annotated[list[str], add]


class Private(TypedDict, total=False):
    text: str
    secret: str


def nothing() -> None: ...
def state_alone(anything: State) -> None: ...
def by_name(state, runtime, writer, store, config): ...  # type: ignore[no-untyped-def]
def keyword_only(state: State, *, runtime: Runtime[Any], config: RunnableConfig) -> None: ...
def only_runtime(runtime: Runtime[Any]) -> None: ...
def only_config(*, config: RunnableConfig) -> None: ...
def state_last(cfg: RunnableConfig, rt: Runtime[Any], values: State) -> None: ...
def of_langchain(state: State, cfg: LangChainConfig, rt: LangGraphRuntime[Any], kept: BaseStore) -> None: ...
def optional(state: State, cfg: LangChainConfig | None = None, kept: Optional[BaseStore] = None) -> None: ...  # noqa: UP045
def writers(state: State, one: StreamWriter, two: LangGraphWriter) -> None: ...
def of_a_subclass(state: State, kept: InMemoryStore) -> None: ...
def positional_only(state: State, config: Any, /) -> None: ...
def any_arguments(*values: Any, **keywords: Any) -> None: ...
def previous_one(state: State, previous: int = 0) -> None: ...
def own_store(state: State, store: dict[str, str] | None = None) -> None: ...
def own_default(state: State, limit: int = 3) -> None: ...
def state_named_config(config: State) -> None: ...
def unresolvable(state: State, cfg: "RunnableConfig | None", rt: "Runtime[Missing]", x: "Missing" = 1) -> None: ...  # type: ignore[name-defined, assignment]  # noqa: F821, UP037


class Method:
    def node(self, state: State, *, store: BaseStore) -> None: ...
    def __call__(self, state: State, writer: StreamWriter) -> None: ...


SIGNATURES: list[tuple[Callable[..., Any], tuple[str, ...], dict[str, str]]] = [
    (nothing, (), {}),
    (state_alone, ("state",), {}),
    (by_name, ("state", "runtime", "writer", "store", "config"), {}),
    (keyword_only, ("state",), {"runtime": "runtime", "config": "config"}),
    (only_runtime, ("runtime",), {}),
    (only_config, (), {"config": "config"}),
    (state_last, ("config", "runtime", "state"), {}),
    (of_langchain, ("state", "config", "runtime", "store"), {}),
    (optional, ("state", "config", "store"), {}),
    (writers, ("state", "writer", "writer"), {}),
    (of_a_subclass, ("state", "store"), {}),
    (positional_only, ("state", "config"), {}),
    (any_arguments, ("state",), {}),
    (previous_one, ("state", "previous"), {}),
    (own_store, ("state",), {}),
    (own_default, ("state",), {}),
    (state_named_config, ("state",), {}),
    (unresolvable, ("state", "config", "runtime"), {}),
    (Method().node, ("state",), {"store": "store"}),
    (Method(), ("state", "writer"), {}),
    (partial(by_name, config={"own": 1}), ("state", "runtime", "writer", "store"), {}),
    (partial(own_default, limit=5), ("state",), {}),
    (dict, ("state",), {}),
]


@pytest.mark.parametrize(("function", "positional", "keywords"), SIGNATURES)
def test_a_parameter_is_known_by_its_annotation_or_its_name(
    function: Callable[..., Any], positional: tuple[str, ...], keywords: dict[str, str]
) -> None:
    """The first parameter that stands for nothing else gets the state; what a partial has bound stays as it is."""
    assert parameters_of(function) == NodeParameters(positional, tuple(keywords.items()))


def test_the_class_of_the_state_is_that_of_the_parameter_that_gets_it() -> None:
    """A config or runtime that stands first is not taken for the state: its keys become no channels."""

    def node(config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"text": "done"}

    def private(rt: LangGraphRuntime[Any], view: Private) -> dict[str, Any]:
        return {"log": [str(sorted(view))]}

    builder = StateGraph(State).add_node(node).add_node(private).add_edge(START, "node").add_edge("node", "private")
    compiled = builder.add_edge("private", END).compile(name="g")
    assert compiled.registry.spec.channel_names == ("text", "log", "secret")
    assert MemoryRunner(compiled).invoke({}, THREAD)["log"] == ["['text']"]


def test_a_node_may_take_nothing() -> None:
    """A function without parameters is called without arguments, as a node and as a router."""
    builder = StateGraph(State).add_node("n", lambda: {"text": "done"})
    builder.add_edge(START, "n").add_conditional_edges("n", lambda: END)
    assert MemoryRunner(builder.compile(name="g")).invoke({}, THREAD) == {"text": "done", "log": []}


class Speaker:
    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, state: State) -> dict[str, Any]:
        return {"log": [self.word]}

    async def later(self, state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"log": [self.word]}


def speak(word: str, state: State) -> dict[str, Any]:
    return {"log": [word]}


async def speak_later(state: State, *, word: str) -> dict[str, Any]:
    return {"log": [word]}


def in_pieces(state: State) -> Iterator[dict[str, Any]]:
    yield {"log": ["dropped"]}
    yield {"log": ["said"]}


async def in_pieces_later(state: State) -> AsyncIterator[dict[str, Any]]:
    yield {"log": ["dropped"]}
    yield {"log": ["said"]}


CALLABLES: dict[str, Any] = {
    "a lambda": lambda state: {"log": ["said"]},
    "a partial": partial(speak, "said"),
    "a partial of an async function": partial(speak_later, word="said"),
    "an object with __call__": Speaker("said"),
    "an async method": Speaker("said").later,
    "a generator function, whose last mapping counts": in_pieces,
    "an async generator function": in_pieces_later,
    "a Runnable": RunnableLambda(Speaker("said")),
    "a chain of Runnables": RunnableLambda(lambda state: "said") | (lambda word: {"log": [word]}),
    "a Runnable for each key": RunnableParallel({"log": lambda state: ["said"]}),
    "a function that returns a Runnable": lambda state: RunnableLambda(Speaker("said")),
}


@pytest.mark.parametrize("node", CALLABLES.values(), ids=CALLABLES.keys())
def test_a_node_is_anything_that_langgraph_calls(node: Any) -> None:
    """Functions of every kind, objects, methods, partials, generators and LangChain's Runnables are nodes."""
    assert MemoryRunner(graph(State, "START > n, n > END", n=node)).invoke({}, THREAD)["log"] == ["said"]


def test_a_runnable_gets_the_config_and_is_a_router_too() -> None:
    """A Runnable finds the task's config, by argument and by ``get_config``; what it returns as a router leads on."""
    steps: list[Any] = []

    def node(state: State, config: LangChainConfig) -> dict[str, Any]:
        steps.append((config["metadata"]["langgraph_node"], get_config()["configurable"]["user"]))
        return {"log": ["n"]}

    builder = StateGraph(State).add_node(RunnableLambda(node, name="asks")).add_node("last", Speaker("last"))
    builder.add_edge(START, "asks").add_edge("last", END)
    builder.add_conditional_edges("asks", RunnableLambda(lambda state: "last" if state["log"] == ["n"] else END))
    config = {"configurable": {"thread_id": "t1", "user": "ada"}}
    assert MemoryRunner(builder.compile(name="g")).invoke({}, config)["log"] == ["n", "last"]
    assert steps == [("asks", "ada")]


def test_a_sequence_adds_nodes_with_edges_between_them() -> None:
    """A node of a sequence has a function's name, that of its class, or the one that stands before it."""
    builder = StateGraph(State).add_sequence([("a", partial(speak, "1")), Speaker("2"), RunnableLambda(in_pieces)])
    compiled = builder.add_edge(START, "a").add_edge("RunnableLambda", END).compile(name="g")
    assert compiled.registry.spec.edges == (
        ("a", "Speaker"),
        ("Speaker", "RunnableLambda"),
        (START, "a"),
        ("RunnableLambda", END),
    )
    assert MemoryRunner(compiled).invoke({}, THREAD)["log"] == ["1", "2", "said"]


def test_a_node_finds_its_metadata_in_its_config() -> None:
    """The metadata of `add_node` wins over the caller's; what stepgraph says of the task wins over both."""
    seen: dict[str, Any] = {}
    builder = StateGraph(State).add_node(
        "n", lambda config: seen.update(config["metadata"]), metadata={"owner": "ada", "node": "x"}
    )
    builder.add_edge(START, "n").add_edge("n", END)
    MemoryRunner(builder.compile(name="g")).invoke({}, {**THREAD, "metadata": {"team": "y", "owner": "bob"}})
    assert (seen["owner"], seen["team"], seen["node"]) == ("ada", "y", "n")
