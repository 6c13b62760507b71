"""Commands and sends lead on alike in stepgraph and LangGraph, on a server."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, failing_once, nodes, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import Operation, answer, answer_by_id, invoke, replay, resume, update

pytestmark = pytest.mark.filterwarnings("ignore::stepgraph.errors.GraphWarning")
"""Some nodes are reached by commands without annotations."""

cases = Cases()
case = cases.case


class Log(TypedDict, total=False):
    log: Annotated[list[str], add]
    n: int


@pytest.mark.parametrize("case", cases.params)
async def test_commands_and_sends_lead_on_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


def work(state: Any) -> Any:
    """What is sent to it, it logs."""
    return {"log": [f"work {state['item']}"]}


def fan_out(lib: Library, *items: Any) -> Any:
    """Return a router that sends an item to ``work`` for each argument."""
    return lambda state: [lib.Send("work", {"item": item}) for item in items]


@case(invoke({"log": ["in"]}))
def map_and_reduce(lib: Library) -> Any:
    """Beside the tasks that are sent, a node runs; what follows them runs once."""
    graph = lib.build(Log, "START > a, START > plan, a > END, work > z", work=work, **nodes("a plan z"))
    return graph.add_conditional_edges("plan", fan_out(lib, 3, 1, 2), ["work", "z"])


@case(invoke({"log": ["in"]}), invoke({"log": ["again"]}), replay(1), update({"log": ["hand"]}, "plan", at=2), resume())
def sends_again_after_a_replay(lib: Library) -> Any:
    graph = lib.build(Log, "START > plan, START > a, work > z", work=work, **nodes("a plan z"))
    return graph.add_conditional_edges("plan", fan_out(lib, 1, 2), ["work", "z"])


@case(invoke({"log": ["in"]}))
def sends_from_where_the_graph_begins(lib: Library) -> Any:
    graph = lib.build(Log, "work > z", work=work, **nodes("z"))
    return graph.add_conditional_edges(lib.START, lambda state: [*fan_out(lib, 2, 1)(state), "z"])


@case(invoke({"log": ["in"]}))
def commands_that_name_nodes_and_send(lib: Library) -> Any:
    """The order of the log is that of the writes: nodes by name, and then what was sent."""

    def plan(state: Any) -> Any:
        sends = [lib.Send("work", {"item": item}) for item in "ba"]
        return lib.Command(update={"log": ["plan"], "n": 1}, goto=["z", *sends, "b"])

    return lib.build(Log, "START > plan, plan > c", plan=plan, work=work, **nodes("b c z"))


@case(invoke({"log": ["in"]}))
def several_commands_of_one_node(lib: Library) -> Any:
    def plan(state: Any) -> Any:
        return [lib.Command(update={"log": ["x"]}, goto="z"), {"log": ["y"]}, lib.Command(goto=lib.END)]

    return lib.build(Log, "START > plan", plan=plan, **nodes("z"))


@case(invoke({"log": ["in"]}))
def a_loop_by_commands(lib: Library) -> Any:
    def turn(state: Any) -> Any:
        n = state.get("n", 0) + 1
        return lib.Command(update={"log": [f"turn {n}"], "n": n}, goto="other" if n < 5 else lib.END)

    return lib.build(Log, "START > turn", turn=turn, other=lambda state: lib.Command(goto="turn"))


@case(invoke({"log": ["in"]}), answer("yes"))
def sent_tasks_that_ask(lib: Library) -> Any:
    def ask(state: Any) -> Any:
        return {"log": [f"{state['item']} {lib.interrupt(state['item'])}"]}

    graph = lib.build(Log, "START > plan, work > z", work=ask, **nodes("plan z"))
    return graph.add_conditional_edges("plan", fan_out(lib, 1), ["work", "z"])


@case(invoke({"log": ["in"]}), resume())
def a_sent_task_that_fails_once(lib: Library) -> Any:
    """The resume runs it alone, with its input."""
    failing = failing_once(ValueError("once"), None, after=0.3)

    def sometimes(state: Any) -> Any:
        return (failing(state) if state["item"] == 2 else None) or work(state)

    graph = lib.build(Log, "START > plan, work > z", work=sometimes, **nodes("plan z"))
    return graph.add_conditional_edges("plan", fan_out(lib, 1, 2, 3), ["work", "z"])


@case(invoke({"log": ["in"]}))
def sent_tasks_that_send(lib: Library) -> Any:
    def halve(state: Any) -> Any:
        half = state["item"] // 2
        sends = [lib.Send("halve", {"item": half}), lib.Send("halve", {"item": half})] if half else []
        return lib.Command(update={"log": [str(state["item"])]}, goto=sends)

    return lib.build(
        Log, "START > plan", plan=lambda state: lib.Command(goto=lib.Send("halve", {"item": 4})), halve=halve
    )


def deferring(lib: Library, edges: str, *deferred: str, **functions: Any) -> Any:
    """Return a graph like `Library.build`, in which some nodes are deferred."""
    builder = lib.StateGraph(Log)
    for name, function in functions.items():
        builder.add_node(name, function, defer=name in deferred)
    for edge in edges.split(", "):
        source, target = edge.split(" > ")
        sources = [lib.START if part == "START" else part for part in source.split("+")]
        builder.add_edge(sources if len(sources) > 1 else sources[0], lib.END if target == "END" else target)
    return builder


@case(invoke({"log": ["in"]}))
def deferred_nodes_behind_branches_of_different_length(lib: Library) -> Any:
    edges = "START > a, START > b, b > b2, b2 > b3, a > y, a > z, b3 > z, y > last, z > last"
    return deferring(lib, edges, "y", "z", **nodes("a b b2 b3 y z last"))


@case(invoke({"log": ["in"]}, interrupt_before=["b2"]), update({"log": ["hand"]}, "a"), resume())
def a_deferred_target_of_a_join(lib: Library) -> Any:
    return deferring(lib, "START > a, START > b, a+b > z, b > b2, b2 > b3", "z", **nodes("a b b2 b3 z"))


@case(invoke({"log": ["in"]}, interrupt_before=["b"]), invoke({"log": ["again"]}), replay(2))
def a_new_input_while_a_deferred_node_waits(lib: Library) -> Any:
    return deferring(lib, "START > a, a > z, a > b, b > c", "z", **nodes("a b c z"))


@case(invoke({"log": ["in"]}))
def a_deferred_node_beside_sent_tasks(lib: Library) -> Any:
    """What is sent keeps it from nothing: it runs beside the sent tasks, and again after what follows them."""

    def plan(state: Any) -> Any:
        return lib.Command(goto=["z", lib.Send("work", {"item": 1})])

    return deferring(lib, "START > plan, work > after, after > z", "z", plan=plan, work=work, **nodes("after z"))


def commanded(**parts: Any) -> Operation:
    """Run a `Command` in place of an input; ``sends`` are ``(node, arg)`` that its ``goto`` has beside names."""
    return answer_by_id(parts.pop("answering", []), **parts)


COMMANDS = {
    "leads on and writes at an interrupt": commanded(answering=["?"], goto=["z"], update={"log": ["u"]}),
    "sends at an interrupt": commanded(answering=["?"], sends=[("work", {"item": 7}), ("work", {"item": 6})]),
    "writes what nodes read": commanded(answering=["?"], update={"n": 5}),
}


@pytest.mark.parametrize("operation", COMMANDS.values(), ids=COMMANDS.keys())
async def test_a_command_as_input_leads_on_as_in_langgraph(operation: Operation, stage: Stage) -> None:
    """It returns the same, and leaves the same head. stepgraph has a checkpoint of its own for what it writes."""
    case = Case(asks_and_goes_on.build, (invoke({"log": ["in"]}), operation, commanded(goto=["z"]), invoke({"n": 2})))
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads


@case(invoke({"log": ["in"]}), answer("yes"))
def asks_and_goes_on(lib: Library) -> Any:
    def ask(state: Any) -> Any:
        return {"log": [f"ask {state.get('n')} {lib.interrupt('?')}"]}

    return lib.build(Log, "START > ask, ask > after", ask=ask, work=work, **nodes("after z"))
