"""Programs about what a node finds beside its state: config, runtime, store, retries, and LangChain's callbacks."""

from __future__ import annotations

import dataclasses
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.config import get_config, get_store, get_stream_writer
from langgraph.func import task
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import RetryPolicy

from tests.langgraph.programs import Programs
from tests.langgraph.scripted_model import ScriptedModel

programs = Programs()
program = programs.program


class Log(TypedDict):
    """A state with a list that grows."""

    log: Annotated[list[Any], operator.add]


@program({"log": []})
def a_store() -> Any:
    """A store given to ``compile``: nodes find it as a parameter, in the runtime, and by `get_store`."""
    store = InMemoryStore()
    store.put(("users",), "ann", {"name": "Ann"})

    def by_parameter(state: Log, *, store: BaseStore) -> Any:
        found = store.get(("users",), "ann")
        store.put(("users",), "bob", {"name": "Bob"})
        return {"log": [found.value["name"] if found else None]}

    async def by_function(state: Log, runtime: Runtime[Any]) -> Any:
        found = await get_store().aget(("users",), "bob")
        return {"log": [found.value["name"] if found else None, runtime.store is get_store()]}

    builder = StateGraph(Log).add_node("a", by_parameter).add_node("b", by_function)
    return builder.add_edge(START, "a").add_edge("a", "b").compile(store=store)


@program({"log": []})
def config_and_runtime() -> Any:
    """The config as a parameter and by `get_config`, on a thread and in an async node; writers do no harm."""

    def by_parameter(state: Log, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        get_stream_writer()({"from": "a"})
        runtime.stream_writer("direct")
        info = runtime.execution_info
        same = info is not None and info.thread_id == config["configurable"]["thread_id"]
        return {"log": [config["metadata"]["langgraph_node"], same, config["metadata"]["mine"]]}

    async def by_function(state: Log) -> Any:
        runtime = get_runtime()
        return {"log": [get_config()["metadata"]["langgraph_node"], runtime.context, runtime.previous]}

    builder = StateGraph(Log).add_node("a", by_parameter, metadata={"mine": 1}).add_node("b", by_function)
    return builder.add_edge(START, "a").add_edge("a", "b").compile()


@dataclasses.dataclass
class Caller:
    """The context of a call."""

    name: str
    level: int = 1


@program({"log": []}, context=Caller("ann", level=3))
def a_context() -> Any:
    """`invoke(context=...)`: nodes and routers find an instance of the graph's ``context_schema``."""

    def greet(state: Log, runtime: Runtime[Caller]) -> Any:
        return {"log": [runtime.context.name, get_runtime(Caller).context.level]}

    builder = StateGraph(Log, context_schema=Caller).add_node("greet", greet)
    builder.add_node("b", lambda state: {"log": ["b"]}).add_edge(START, "greet")
    route = lambda state: "b" if get_runtime(Caller).context.level > 2 else "__end__"  # noqa: E731
    return builder.add_conditional_edges("greet", route, ["b", "__end__"]).compile()


class Recorder(BaseCallbackHandler):
    """Notes the tags and the metadata with which a model is called."""

    run_inline = True

    def __init__(self, seen: list[Any]) -> None:
        self.seen = seen

    def on_chat_model_start(self, *_arguments: Any, **options: Any) -> None:
        """Note what the model was called with."""
        metadata = options["metadata"]
        self.seen.append([sorted(options["tags"]), metadata["langgraph_node"], metadata["mine"]])


@program({"log": []})
def callbacks() -> Any:
    """`with_config` of a graph gives its nodes callbacks, tags and metadata, which reach the models that they call."""
    model, seen = ScriptedModel(script=["answer"]), []  # type: ignore[var-annotated]  # of what the recorder notes

    def call(state: Log) -> Any:
        return {"log": [model.invoke([HumanMessage("q")]).text]}

    async def call_async(state: Log) -> Any:
        return {"log": [(await model.ainvoke([HumanMessage("q")])).text, *seen]}

    builder = StateGraph(Log).add_node("a", call).add_node("b", call_async).add_edge(START, "a").add_edge("a", "b")
    config: RunnableConfig = {"callbacks": [Recorder(seen)], "tags": ["mine"], "metadata": {"mine": 2}}
    return builder.compile().with_config(config)


@program({"log": []})
def runnables() -> Any:
    """Nodes that are chains of Runnables, and objects that can be called."""

    class Shout:
        def __call__(self, state: Log) -> Any:
            return {"log": [state["log"][-1].upper()]}

    chain: Any = RunnableLambda(lambda state: len(state["log"])) | RunnableLambda(lambda n: {"log": [f"chain {n}"]})
    builder = StateGraph(Log).add_node("chain", chain).add_node("shout", Shout())
    return builder.add_edge(START, "chain").add_edge("chain", "shout").compile()


@program({"log": []})
def tasks_in_nodes() -> Any:
    """Functions with ``@task`` that nodes call, sync and async."""

    @task
    def one_more(number: int) -> int:
        return number + 1

    @task
    async def two_more(number: int) -> int:
        return number + 2

    def sync_node(state: Log) -> Any:
        return {"log": [one_more(1).result(), one_more(5).result()]}

    async def async_node(state: Log) -> Any:
        return {"log": [await one_more(1), await two_more(5)]}

    builder = StateGraph(Log).add_node("a", sync_node).add_node("b", async_node)
    return builder.add_edge(START, "a").add_edge("a", "b").compile()


@program({"log": []})
def retries() -> Any:
    """A node that fails twice, with LangGraph's retry policy."""
    attempts: list[int] = []

    def fails_twice(state: Log) -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return {"log": [f"attempt {len(attempts)}"]}

    policy = RetryPolicy(initial_interval=0.01, max_attempts=5, jitter=False, retry_on=ValueError)
    return StateGraph(Log).add_node("a", fails_twice, retry_policy=policy).add_edge(START, "a").compile()
