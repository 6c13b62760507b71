"""What nodes and routers are, take and find: the same program, with other imports, gives the same in both libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from operator import add
from types import SimpleNamespace
from typing import Annotated, Any

import langgraph.config
import langgraph.graph
import langgraph.runtime
import pytest
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel, ensure_config
from langchain_core.tools import tool
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from typing_extensions import TypedDict

import stepgraph
from stepgraph.testing import MemoryRunner

LANGGRAPH = SimpleNamespace(
    **{name: getattr(langgraph.graph, name) for name in ("StateGraph", "START", "END")},
    **{name: getattr(langgraph.config, name) for name in ("get_config", "get_store", "get_stream_writer")},
    get_runtime=langgraph.runtime.get_runtime,
)
Build = Callable[[Any], Any]
"""Returns a builder, made with the names of a library."""

PROGRAMS: list[Any] = []


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    messages: Annotated[list[AnyMessage], add]


def program(build: Build) -> Build:
    """Make the decorated function a program of the test below."""
    PROGRAMS.append(pytest.param(build, id=build.__name__))
    return build


def parts(value: Any) -> Any:
    """Return a result as plain data: messages without the ids that each library gives."""
    return {name: [getattr(item, "content", item) for item in items] for name, items in value.items()}


async def run(lib: Any, build: Build) -> tuple[Any, Any]:
    """Return a program's result in a library, or its error; and what its store has."""
    store = InMemoryStore()
    config: Any = {"configurable": {"thread_id": "t", "user": "ada"}, "tags": ["nightly"], "metadata": {"team": "x"}}
    if lib is LANGGRAPH:
        graph = build(lib).compile(store=store)
    else:
        graph = MemoryRunner(build(lib).compile(name="g", store=store))
    result = parts(await graph.ainvoke({"log": []}, config))
    return result, [(item.namespace, item.key, item.value) for item in store.search(())]


@pytest.mark.parametrize("build", PROGRAMS)
async def test_a_node_is_called_as_in_langgraph(build: Build) -> None:
    """Results, and what is in the store, are equal."""
    ours, theirs = await run(stepgraph, build), await run(LANGGRAPH, build)
    assert parts({"messages": [], **ours[0]}) == parts({"messages": [], **theirs[0]})
    assert ours[1] == theirs[1]


def line(lib: Any, *nodes: Any) -> Any:
    """Return a builder with the nodes in a row."""
    builder = lib.StateGraph(State).add_sequence(nodes)
    first, last = (list(builder.nodes)[at] if lib is LANGGRAPH else list(builder._nodes)[at] for at in (0, -1))
    return builder.add_edge(lib.START, first).add_edge(last, lib.END)


@program
def parameters_by_name(lib: Any) -> Any:
    def node(state, writer, store, config, *, runtime, previous):  # type: ignore[no-untyped-def]
        store.put(("a",), "k", {"v": config["configurable"]["user"]})
        writer("x")
        return {"log": [str(runtime.store is store), str(previous), config["metadata"]["team"], *config["tags"]]}

    return line(lib, node)


@program
def parameters_by_annotation(lib: Any) -> Any:
    async def node(state: State, config: RunnableConfig, runtime: Any, store: BaseStore) -> dict[str, Any]:
        await store.aput(("a",), "k", {"step": config["metadata"]["langgraph_step"] > 0})
        return {"log": [config["metadata"]["langgraph_node"], str(runtime.context)]}

    return line(lib, node)


@program
def functions_that_find_them(lib: Any) -> Any:
    def on_thread(state: State) -> dict[str, Any]:
        lib.get_stream_writer()({"x": 1})
        lib.get_store().put(("a",), "thread", {"v": lib.get_config()["configurable"]["user"]})
        return {"log": [str(lib.get_runtime().store is lib.get_store())]}

    async def on_loop(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        await lib.get_store().aput(("a",), "loop", {"v": lib.get_config()["metadata"]["langgraph_node"]})
        return {"log": [str(lib.get_runtime().execution_info.node_attempt)]}

    return line(lib, on_thread, on_loop)


class Speaker:
    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, state: State, *, store: BaseStore) -> dict[str, Any]:
        store.put(("said",), self.word, {})
        return {"log": [self.word]}

    def method(self, state: State) -> dict[str, Any]:
        return {"log": [self.word]}

    async def later(self, state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"log": [self.word, *config["tags"]]}


@program
def objects_methods_partials(lib: Any) -> Any:
    speaker = Speaker("b")
    return line(lib, Speaker("a"), ("m", speaker.method), speaker.later, ("p", partial(Speaker.method, Speaker("c"))))


@program
def generators(lib: Any) -> Any:
    def pieces(state: State) -> Iterator[dict[str, Any]]:
        yield {"log": ["1"]}
        yield {"log": ["2"]}

    async def later(state: State) -> AsyncIterator[dict[str, Any]]:
        yield {"log": ["3"]}
        yield {"log": ["4"]}

    return line(lib, pieces, later)


@program
def runnables(lib: Any) -> Any:
    def own_config(state: State) -> dict[str, Any]:
        config = ensure_config()
        return {"log": [config["metadata"]["langgraph_node"], *config["tags"], config["configurable"]["user"]]}

    chain = RunnableLambda(lambda state: len(state["log"])) | (lambda count: {"log": [str(count)]})
    return line(
        lib,
        RunnableLambda(own_config),
        ("chain", chain),
        ("parallel", RunnableParallel({"log": lambda state: ["p"]})),
        ("returned", lambda state: RunnableLambda(own_config)),
    )


@program
def routers(lib: Any) -> Any:
    builder = lib.StateGraph(State)
    for name in ("a", "b", "c", "d"):
        builder.add_node(name, lambda state, name=name: {"log": [name]})
    builder.add_edge(lib.START, "a").add_edge("d", lib.END)
    builder.add_conditional_edges(
        "a", RunnableLambda(lambda state: state["log"] == ["a"], name="is_a"), {True: "b", False: lib.END}
    )

    def by_config(state: State, config: RunnableConfig) -> str:
        return "c" if config["configurable"]["user"] == "ada" else lib.END

    async def by_store(state: State, *, store: BaseStore) -> str:
        return "d" if await store.aget(("none",), "k") is None else lib.END

    builder.add_conditional_edges("b", by_config, ["c", lib.END])
    return builder.add_conditional_edges("c", by_store, ["d", lib.END])


@program
def metadata_of_a_node(lib: Any) -> Any:
    def node(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"log": [config["metadata"]["team"], config["metadata"]["owner"]]}

    builder = lib.StateGraph(State).add_node("n", node, metadata={"owner": "bob", "team": "y"})
    return builder.add_edge(lib.START, "n").add_edge("n", lib.END)


@program
def tools(lib: Any) -> Any:
    @tool
    def remember(word: str) -> str:
        """Keep a word."""
        langgraph.config.get_store().put(("words",), word, {"v": 1})
        return f"kept {word}"

    def ask(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=[{"name": "remember", "args": {"word": "tea"}, "id": "1"}])]}

    async def again(state: State, config: RunnableConfig) -> Any:
        return await ToolNode([remember]).ainvoke({"messages": state["messages"][:1]}, config)

    return line(lib, ask, ToolNode([remember]), again)
