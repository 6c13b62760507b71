"""What cannot be taken over is refused by name, with a way out; what need not be is left aside with a warning."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.channels import NamedBarrierValue
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy, Command, Send, interrupt

import stepgraph
from stepgraph.errors import GraphDefinitionError, InvalidInputError, InvalidUpdateError, NodeError, SerializationError
from stepgraph.testing import MemoryRunner

CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Log(TypedDict):
    """A state with a list that grows, and a value of any class."""

    log: Annotated[list[Any], operator.add]
    any: Any


class Unknown:
    """A class that no codec knows."""


def one_node(node: Callable[[Any], Any] = lambda state: None, **options: Any) -> Any:
    """Return a builder with one node."""
    return StateGraph(Log).add_node("only", node, **options).add_edge(START, "only")


@entrypoint()
def job(number: int) -> int:
    """A function of LangGraph's functional API."""
    return number


def with_barrier() -> Any:
    """Return a graph one of whose keys is a join."""
    state: Any = TypedDict("State", {"barrier": Annotated[str, NamedBarrierValue(str, {"a"})]})  # type: ignore[misc]
    return StateGraph(state).add_node("only", lambda state: None).add_edge(START, "only")


async def async_factory() -> Any:
    """A factory that is async."""


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an entrypoint": (lambda: job, r"'job' is a function with @entrypoint\. .* Make its tasks the nodes"),
    "a wrapped graph": (lambda: one_node().compile().with_retry(), r"this .*RunnableRetry wraps one, or is none"),
    "a runnable": (lambda: RunnableLambda(lambda state: state), "RunnableLambda wraps one, or is none"),
    "something else": (lambda: 7, "or a function that returns either; got int"),
    "a factory of something else": (lambda: lambda: 7, "or a function that returns either; got int"),
    "an async factory": (lambda: async_factory, "is async. adopt.. takes a function that returns the graph itself"),
    "a cache policy": (
        lambda: one_node(cache_policy=CachePolicy()).compile(cache=InMemoryCache()),
        "Node 'only' of graph 'g' has a cache policy, .* Remove it, or cache inside of the node",
    ),
    "an error handler": (
        lambda: one_node(error_handler=lambda state: None).compile(),
        "Node 'only' of graph 'g' has an error handler, .* Catch the exception inside of the node",
    ),
    "a join as a key": (with_barrier, "State key 'barrier' of graph 'g' is a NamedBarrierValue"),
    "a graph that keeps its state": (
        lambda: one_node(one_node().compile(checkpointer=True)).compile(),
        "Node 'only' of graph 'g' calls a graph with checkpointer=True, .* Compile it without",
    ),
}


@pytest.mark.parametrize(("graph", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_over_is_refused_by_name(graph: Callable[[], Any], message: str) -> None:
    """At `adopt`, so that nothing starts."""
    with pytest.raises(GraphDefinitionError, match=message):
        stepgraph.adopt(graph(), "g")


def test_a_name_that_temporal_cannot_have_is_refused() -> None:
    """The name that the graph was compiled with is taken only if it can be one of a workflow type."""
    with pytest.raises(GraphDefinitionError, match="A graph's name must be 1 to 100 letters"):
        stepgraph.adopt(one_node().compile(name="my agent"))


def test_a_graph_without_a_name_gets_that_of_the_file_that_calls() -> None:
    """`adopt` takes the stem, as `compile` does."""
    assert stepgraph.adopt(one_node()).name == "test_adopt_refusals"
    assert stepgraph.adopt(one_node().compile(name="own")).name == "own"
    assert stepgraph.adopt(one_node().compile(name="own"), "given").name == "given"


def test_a_saver_is_left_aside_with_a_warning() -> None:
    """Temporal keeps the checkpoints."""
    with pytest.warns(UserWarning, match=r"compiled with a InMemorySaver\. .* Leave checkpointer= out"):
        stepgraph.adopt(one_node().compile(checkpointer=InMemorySaver()), "g")


@pytest.mark.parametrize(
    ("node", "error", "message"),
    [
        (lambda state: {"any": Unknown()}, SerializationError, "Channel 'any' .*Unknown is not among the classes"),
        (lambda state: Command(goto=Send("only", Unknown())), SerializationError, "Unknown is not among the classes"),
        (lambda state: interrupt(Unknown()), SerializationError, r"passes to interrupt\(\) cannot travel"),
        (lambda state: 7, NodeError, "Expected dict, got 7"),
        (lambda state: Command(graph=Command.PARENT), InvalidUpdateError, "to the parent of its graph, which has none"),
    ],
)
def test_what_a_node_cannot_return_fails_it_by_name(node: Any, error: type[Exception], message: str) -> None:
    """The thread stays as it was before the node."""
    runner = MemoryRunner(stepgraph.adopt(one_node(node), "g"))
    with pytest.raises(error, match=message):
        runner.invoke({"log": []}, CONFIG)
    assert runner.get_state(CONFIG).next == ("only",)


def test_classes_that_are_named_may_travel() -> None:
    """`adopt(types=[...])`, for values that no annotation mentions."""
    from tests.langgraph.states import Point

    runner = MemoryRunner(stepgraph.adopt(one_node(lambda state: {"any": Point(1)}), "g", types=[Point]))
    assert runner.invoke({"log": []}, CONFIG)["any"] == Point(1)


def test_an_input_that_langgraph_refuses_is_refused() -> None:
    """Before anything runs."""
    runner = MemoryRunner(stepgraph.adopt(one_node(), "g"))
    with pytest.raises(InvalidInputError, match="is refused by LangGraph: .*Expected dict, got 7"):
        runner.invoke(7, CONFIG)


def test_a_destination_that_is_no_node_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """As in LangGraph, with a warning in the log."""
    runner = MemoryRunner(stepgraph.adopt(one_node(lambda state: Command(goto=["nowhere", Send("no", 1)])), "g"))
    assert runner.invoke({"log": ["in"]}, CONFIG)["log"] == ["in"]
    assert [record.message for record in caplog.records if record.name.startswith("stepgraph")] == [
        "Node 'only' leads to 'nowhere', which is no node: ignored.",
        "Node 'only' sent to 'no', which is no node: ignored.",
    ]


def test_without_langgraph_the_message_names_the_extra() -> None:
    """`import stepgraph` and its own graphs need no LangGraph, and load none."""
    program = """
import sys

import stepgraph
from stepgraph.testing import MemoryRunner

assert not any(name.partition(".")[0] in ("langgraph", "langchain_core") for name in sys.modules)
sys.modules["langgraph"] = None
try:
    stepgraph.adopt(object(), "g")
except stepgraph.errors.GraphDefinitionError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "adopt() needs LangGraph" in ran.stdout
    assert "pip install 'stepgraph[langgraph]'" in ran.stdout
