"""Tests of what an invoke takes beside its input: a context, output keys, a thread of its own."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from stepgraph import END, START, Command, Runtime, StateGraph, interrupt
from stepgraph.errors import GraphDefinitionError, InvalidInputError, InvalidThreadError, UnsupportedError
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, build, graph


class State(TypedDict, total=False):
    text: str
    log: Annotated[list[Any], add]


@dataclass
class Options:
    user: str
    limits: list[int] = field(default_factory=list)


class Profile(BaseModel):
    user: str
    age: int = 3


class Keys(TypedDict):
    user: str


def telling(context_schema: Any) -> MemoryRunner:
    def tell(state: State, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"log": [repr(runtime.context)]}

    builder = StateGraph(State, context_schema).add_node("tell", tell)
    return MemoryRunner(builder.add_edge(START, "tell").add_edge("tell", END).compile(name="g"))


@pytest.mark.parametrize(
    ("declared", "given", "seen"),
    [
        (Options, Options("ann", [1]), "Options(user='ann', limits=[1])"),
        (Options, {"user": "ann"}, "Options(user='ann', limits=[])"),
        (Profile, Profile(user="ann"), "Profile(user='ann', age=3)"),
        (Profile, {"user": "ann", "age": "4"}, "Profile(user='ann', age=4)"),
        (Keys, {"user": "ann"}, "{'user': 'ann'}"),
        (None, {"user": "ann"}, "{'user': 'ann'}"),
        (Options, None, "None"),
    ],
)
def test_nodes_find_the_context_of_the_invoke(declared: Any, given: Any, seen: str) -> None:
    """A mapping becomes an instance of the declared class; an invoke without a context has `None`."""
    assert telling(declared).invoke({}, context=given) == {"log": [seen]}


@pytest.mark.parametrize(
    ("declared", "given", "message"),
    [
        (Options, {"usr": "ann"}, "has a key 'usr' that its context_schema .*Options does not declare"),
        (Profile, {"user": 5}, "must fit its context_schema .*Profile; got dict: user: Input should be a valid string"),
        (Profile, "ann", "must fit its context_schema .*Profile; got str: "),
        (None, object(), "must be JSON data, because nodes run in other processes; got object: "),
    ],
)
def test_a_context_that_does_not_fit_is_refused_at_the_call(declared: Any, given: Any, message: str) -> None:
    """The error names the graph and the class, and no thread begins."""
    runner = telling(declared)
    with pytest.raises(InvalidInputError, match=f"^The context of graph 'g' {message}"):
        runner.invoke({}, THREAD, context=given)
    assert runner.get_state(THREAD).values == {}


def test_a_context_schema_that_cannot_travel_is_refused() -> None:
    """A connection cannot go to another process; the error says where to open it."""

    class Connection: ...

    @dataclass
    class WithConnection:
        connection: Connection

    with pytest.raises(
        GraphDefinitionError, match=r"cannot travel between processes.* open connections .*in the nodes"
    ):
        StateGraph(State, context_schema=WithConnection)
    with pytest.raises(GraphDefinitionError, match="context_schema must be a dataclass, a pydantic model or a Typed"):
        StateGraph(State, context_schema=dict)


def test_a_resume_keeps_the_context_or_replaces_it() -> None:
    """An answer without a context goes on with that of the invoke; one with a context hands over its own."""

    def ask(state: State, runtime: Runtime[Options]) -> dict[str, Any]:
        return {"log": [interrupt("?"), runtime.context.user]}

    builder = StateGraph(State, Options).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END)
    runner = MemoryRunner(builder.compile(name="g"))
    for answer, seen in (({}, "ann"), ({"context": {"user": "bob"}}, "bob")):
        config = {"configurable": {"thread_id": seen}}
        runner.invoke({}, config, context=Options("ann"))
        assert runner.invoke(Command(resume="yes"), config, **answer) == {"log": ["yes", seen]}


def test_a_router_finds_the_context() -> None:
    """Routers take a runtime as nodes do, also the routers of the start."""

    def choose(state: State, runtime: Runtime[Options]) -> str:
        return runtime.context.user

    builder = StateGraph(State, Options).add_node("ann", lambda state: {"text": "ann"}).add_edge("ann", END)
    builder.add_conditional_edges(START, choose, ["ann"])
    assert MemoryRunner(builder.compile(name="g")).invoke({}, context=Options("ann")) == {"log": [], "text": "ann"}


def test_output_keys_name_what_is_returned() -> None:
    """A list of keys gives a mapping, one key its value; a wrong one is refused with the near miss."""
    runner = MemoryRunner(graph(State, "START > a, a > END", a=lambda state: {"text": "t", "log": [1]}))
    assert runner.invoke({}, output_keys=["text"]) == {"text": "t"}
    assert runner.invoke({}, output_keys="log") == [1]
    with pytest.raises(InvalidInputError, match=r"key 'txt' that the state does not declare\. Did you mean 'text'"):
        runner.invoke({}, output_keys=["txt"])
    with pytest.raises(InvalidInputError, match="output_keys names keys of the state, one or a list; got int"):
        runner.invoke({}, output_keys=5)  # type: ignore[arg-type]  # the point


def test_an_input_without_a_thread_id_gets_a_thread_of_its_own() -> None:
    """Such calls do not see each other's values, and nodes find the id of their thread."""

    def tell(state: State, config: dict[str, Any]) -> dict[str, Any]:
        return {"log": [config["configurable"]["thread_id"], config["configurable"].get("user")]}

    runner = MemoryRunner(graph(State, "START > a, a > END", a=tell))
    results = [
        runner.invoke({}),
        runner.invoke({}, {"configurable": {"user": "ann"}}),
        runner.invoke({}, {"recursion_limit": 5}),
    ]
    assert [result["log"][1] for result in results] == [None, "ann", None]
    assert len({result["log"][0] for result in results}) == 3


@pytest.mark.parametrize(
    ("input_data", "config"),
    [
        (None, None),
        (Command(resume="yes"), None),
        ({}, {"thread_id": "t1"}),
        ({}, {"configurable": {"threadid": "t1"}}),
        ({}, {"configurable": {"thread_ID": "t1"}}),
        ({}, {"configurable": {"thread_id": None}}),
    ],
)
def test_what_needs_a_thread_id_or_misspells_it_is_refused(input_data: Any, config: Any) -> None:
    """To go on needs a thread; and an id in the wrong place must not begin a new one each time."""
    runner = MemoryRunner(graph(State, "START > a, a > END", a=lambda state: None))
    with pytest.raises(InvalidThreadError, match="'thread_id': 'some-id'"):
        runner.invoke(input_data, config)


@pytest.mark.parametrize("option", [{"stream_mode": "updates"}, {"version": "v2"}, {"control": object()}])
def test_options_of_langgraph_that_are_missing_name_the_page(option: dict[str, Any]) -> None:
    """An argument that only makes sense for streams says so, and where the differences are listed."""
    runner = MemoryRunner(graph(State, "START > a, a > END", a=lambda state: None))
    name = next(iter(option))
    with pytest.raises(UnsupportedError, match=rf"no invoke\({name}=.*docs/coming-from-langgraph\.md") as caught:
        runner.invoke({}, **option)
    assert caught.value.feature == name


def test_options_without_effect_are_accepted() -> None:
    """Ported programs pass them."""
    runner = MemoryRunner(graph(State, "START > a, a > END", a=lambda state: {"text": "t"}))
    result = runner.invoke(
        {}, None, stream_mode="values", print_mode="updates", durability="exit", version="v1", debug=True
    )
    assert result == {"log": [], "text": "t"}


def test_a_durability_that_does_not_exist_is_refused() -> None:
    """The error lists the ones that there are."""
    runner = MemoryRunner(build(State, "START > a, a > END", {"a": lambda state: None}).compile(name="g"))
    with pytest.raises(InvalidInputError, match=re.escape("durability must be one of 'sync', 'async', 'exit'; got 5")):
        asyncio.run(runner.ainvoke({}, durability=5))  # type: ignore[arg-type]  # the point
