"""Time travel, updates, breakpoints and resumes of adopted graphs, as LangGraph does them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

import stepgraph
from stepgraph.testing import MemoryRunner
from tests.langgraph.scripted_model import ScriptedModel, calling

CONFIG: Any = {"configurable": {"thread_id": "t"}}

Operations = Callable[[Any], list[Any]]


class Log(TypedDict):
    """A state with a list that grows, and a number."""

    log: Annotated[list[str], operator.add]
    number: int


def graph(**options: Any) -> Any:
    """Return a graph: ``a`` leads to ``b`` if the number is odd, sends to ``c`` if it is even."""

    def route(state: Log) -> Any:
        return "b" if state["number"] % 2 else [Send("c", {"number": state["number"]}), Send("c", {"number": 0})]

    def note(name: str) -> Any:
        return lambda state: {"log": [f"{name} {state['number']}"]}

    builder = StateGraph(Log)
    for name in "abc":
        builder.add_node(name, note(name))
    builder.add_edge(START, "a").add_conditional_edges("a", route, ["b", "c"])
    return builder.compile(**options)


def in_both(operations: Operations, **options: Any) -> tuple[list[Any], list[Any]]:
    """Return what operations see here, and in LangGraph."""
    ours = operations(MemoryRunner(stepgraph.adopt(graph(**options), "ours")))
    return ours, operations(graph(checkpointer=InMemorySaver(), **options))


def test_an_update_asks_the_routers_of_its_author() -> None:
    """The node does not run, but what follows from its values does: a node, or tasks that are sent."""

    def operations(graph: Any) -> list[Any]:
        graph.invoke({"log": ["in"], "number": 1}, CONFIG)
        graph.update_state(CONFIG, {"log": ["by hand"], "number": 3}, as_node="a")
        odd = graph.get_state(CONFIG)
        graph.update_state(CONFIG, {"number": 4}, as_node="a")
        even = graph.get_state(CONFIG)
        return [odd.values, odd.next, even.values, even.next, graph.invoke(None, CONFIG)]

    ours, theirs = in_both(operations)
    assert ours == theirs


def test_a_thread_runs_again_from_any_checkpoint() -> None:
    """`invoke(None, config)` with a checkpoint id, and a fork by an update there."""

    def operations(graph: Any) -> list[Any]:
        graph.invoke({"log": ["in"], "number": 2}, CONFIG)
        before_a = next(each for each in graph.get_state_history(CONFIG) if each.next == ("a",))
        again = graph.invoke(None, before_a.config)
        forked = graph.update_state(before_a.config, {"number": 5})
        return [again, graph.invoke(None, forked)]

    ours, theirs = in_both(operations)
    assert ours == theirs


def test_breakpoints_that_langgraph_was_given_hold_here() -> None:
    """`compile(interrupt_before=..., interrupt_after=...)`."""

    def operations(graph: Any) -> list[Any]:
        seen = [graph.invoke({"log": [], "number": 1}, CONFIG)["log"], graph.get_state(CONFIG).next]
        seen += [graph.invoke(None, CONFIG)["log"], graph.get_state(CONFIG).next]
        return [*seen, graph.invoke(None, CONFIG)["log"]]

    ours, theirs = in_both(operations, interrupt_before=["b"], interrupt_after=["a"])
    assert [each for each in ours if each != ()][-1] == theirs[-1]
    assert ours[:2] == theirs[:2]


def test_a_fork_on_a_new_thread_leaves_the_old_one() -> None:
    """What LangGraph does not have works on adopted graphs, too."""
    runner = MemoryRunner(stepgraph.adopt(graph(), "forked"))
    runner.invoke({"log": ["in"], "number": 1}, CONFIG)
    first = next(each for each in runner.get_state_history(CONFIG) if each.next == ("a",))
    forked = runner.fork(first.config, {"number": 2}, as_node="human", thread_id="other")
    assert forked["log"] == ["in", "a 2", "c 2", "c 0"]
    assert runner.get_state(CONFIG).values["log"] == ["in", "a 1", "b 1"]


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_the_durability_is_the_graphs(durability: Any) -> None:
    """`adopt` takes it, as `compile` does."""
    adopted = stepgraph.adopt(graph(), "durable", durability=durability)
    assert adopted.registry.spec.durability == durability


def test_langgraphs_command_resumes_a_thread() -> None:
    """A program that resumes with ``langgraph.types.Command`` needs no change."""
    builder = StateGraph(Log).add_node("a", lambda state: {"log": [interrupt("?")]}).add_edge(START, "a")
    runner = MemoryRunner(stepgraph.adopt(builder, "asking"))
    assert runner.invoke({"log": []}, CONFIG)["__interrupt__"][0].value == "?"
    assert runner.invoke(Command(resume="yes"), CONFIG)["log"] == ["yes"]


@tool
async def wait_for(what: str) -> str:
    """A tool that is async only."""
    return f"waited for {what}"


class SyncOnly(AgentMiddleware[Any, Any]):
    """Middleware as LangChain's guides write it: without async methods."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        """Call the model."""
        return handler(request)


def test_middleware_that_is_not_async_runs_on_a_thread() -> None:
    """LangChain refuses it in an async call; an adopted agent runs beside others, so its node is run again, sync."""
    agent = create_agent(ScriptedModel(script=["end"]), [], middleware=[SyncOnly()])
    runner = MemoryRunner(stepgraph.adopt(agent, "sync"))
    assert runner.invoke({"messages": "hi"}, CONFIG)["messages"][-1].text == "end"


def test_a_tool_that_is_async_only_runs_on_the_event_loop() -> None:
    """The caller may be sync all the same."""
    agent = create_agent(ScriptedModel(script=[calling(("wait_for", {"what": "x"})), "end"]), [wait_for])
    runner = MemoryRunner(stepgraph.adopt(agent, "async"))
    assert runner.invoke({"messages": "hi"}, CONFIG)["messages"][-2].content == "waited for x"


def test_two_interrupts_of_a_graph_inside_of_a_node_are_requested_one_after_the_other() -> None:
    """LangGraph shows both at once. What was answered does not run again."""
    ran: list[str] = []

    def asking(name: str) -> Any:
        def node(state: Log) -> Any:
            ran.append(name)
            return {"log": [interrupt(name)]}

        return node

    inner = StateGraph(Log).add_node("x", asking("x")).add_node("y", asking("y"))
    inner.add_edge(START, "x").add_edge(START, "y")
    outer = StateGraph(Log).add_node("inner", inner.compile()).add_edge(START, "inner")
    runner = MemoryRunner(stepgraph.adopt(outer, "outer"))
    (first,) = runner.invoke({"log": []}, CONFIG)["__interrupt__"]
    (second,) = runner.invoke(Command(resume=first.value.upper()), CONFIG)["__interrupt__"]
    assert {first.value, second.value} == {"x", "y"}
    assert runner.invoke(Command(resume=second.value.upper()), CONFIG)["log"] == ["X", "Y"]
    assert ran.count(first.value) == 2


class Decision(BaseModel):
    """What a human decides."""

    ok: bool


def test_an_answer_that_does_not_fit_is_asked_for_again() -> None:
    """`interrupt(response_schema=...)`. LangGraph raises in the call that brings the answer, and keeps waiting."""

    def decide(state: Log) -> Any:
        return {"log": [f"{interrupt('first?')} {interrupt('sure?', response_schema=Decision)}"]}

    builder = StateGraph(Log).add_node("decide", decide).add_edge(START, "decide")
    runner = MemoryRunner(stepgraph.adopt(builder, "deciding"))
    runner.invoke({"log": []}, CONFIG)
    runner.invoke(Command(resume="one"), CONFIG)
    (again,) = runner.invoke(Command(resume={"ok": "perhaps"}), CONFIG)["__interrupt__"]
    assert again.value == "sure?"
    assert runner.invoke(Command(resume={"ok": True}), CONFIG)["log"] == ["one ok=True"]


def test_the_recursion_limit_of_a_graph_is_that_of_its_calls() -> None:
    """`with_config` in LangGraph; agents set one. A call's own limit goes before it."""
    adopted = stepgraph.adopt(graph().with_config(recursion_limit=7), "limited")
    assert adopted.merged_config(CONFIG)["recursion_limit"] == 7
    assert adopted.merged_config({**CONFIG, "recursion_limit": 3})["recursion_limit"] == 3
