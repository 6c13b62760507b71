"""Failures, interrupts and breakpoints pause a thread, and it goes on, alike in stepgraph and LangGraph."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, failing_once, nodes, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import answer, answer_each, invoke, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@pytest.mark.parametrize("case", cases.params)
async def test_a_paused_thread_behaves_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


def _flaky(then: Any, after: float = 0.0) -> Any:
    return failing_once(ConnectionError("no route"), then, after=after)


@case(invoke({"n": 1}), resume())
def the_first_node_fails_once(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > END", a=_flaky({"log": ["a"]}))


@case(invoke({"n": 1}), resume(), resume())
def the_middle_of_a_chain_fails_once(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > c, c > END", **{**nodes("a b c"), "b": _flaky({"log": ["b"]})})


@case(invoke({"n": 1}), resume())
def one_of_three_siblings_fails_once(lib: Library) -> Any:
    ran: list[str] = []

    def counted(state: Count) -> dict[str, Any]:
        ran.append("a")
        return {"log": [f"a ran {len(ran)} times"]}

    return lib.build(
        Count,
        "START > a, START > b, START > c, a+b+c > z, z > END",
        **{**nodes("c z"), "a": counted, "b": _flaky({"log": ["b"]}, after=0.2)},
    )


@case(invoke({"n": 1}), resume())
def one_of_two_siblings_fails_and_the_other_writes_nothing(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > a, START > b, a+b > z, z > END",
        **{**nodes("z"), "a": lambda s: None, "b": _flaky({"n": 2}, after=0.2)},
    )


@case(invoke({"n": 1}), resume(), resume())
def the_same_node_fails_twice(lib: Library) -> Any:
    errors = [ValueError("second"), ConnectionError("first")]

    def node(state: Count) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        return {"log": ["at last"]}

    return lib.build(Count, "START > a, a > END", a=node)


@case(invoke({"n": 0}), resume(), resume())
def a_node_of_a_loop_fails_in_its_third_round(lib: Library) -> Any:
    errors = [TimeoutError("slow")]

    def node(state: Count) -> dict[str, Any]:
        if state["n"] == 2 and errors:
            raise errors.pop()
        return {"n": state["n"] + 1}

    return lib.build(Count, "START > a", a=node).add_conditional_edges("a", lambda s: "a" if s["n"] < 4 else lib.END)


@case(invoke({"n": 1}), invoke({"n": 2}))
def a_new_input_on_a_failed_thread(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > a, START > b, a+b > z, z > END",
        a=lambda s: {"log": [f"a{s['n']}"]},
        b=_flaky({"log": ["b"]}, after=0.2),
        z=lambda s: None,
    )


@case(invoke({"n": 1}), resume())
def the_last_source_of_a_join_fails_once(lib: Library) -> Any:
    return lib.build(
        Count, "START > a, START > b, b > c, a+c > z, z > END", **{**nodes("a b z"), "c": _flaky({"log": ["c"]})}
    )


@case(invoke({"n": 1}), answer("yes"))
def a_node_interrupts(lib: Library) -> Any:
    return lib.build(
        Count, "START > a, a > ask, ask > END", **nodes("a"), ask=lambda s: {"log": [lib.interrupt(f"n = {s['n']}?")]}
    )


@case(invoke({"n": 1}), answer({"approved": True, "by": "ann"}))
def an_answer_that_is_a_mapping(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt({"ok": None})["by"]]})


@case(invoke({"n": 1}), answer("one"), answer("two"), resume())
def a_node_interrupts_twice(lib: Library) -> Any:
    return lib.build(
        Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt("first?"), lib.interrupt("second?")]}
    )


@case(invoke({"n": 1}), answer("A"), resume())
def one_of_two_siblings_interrupts(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > ask, START > b, ask+b > z, z > END",
        **nodes("b z"),
        ask=lambda s: {"log": [lib.interrupt("a?")]},
    )


@case(invoke({"n": 1}), answer_each(b="B"), answer_each(a="A"))
def two_nodes_interrupt_and_are_answered_one_by_one(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > x, START > y, x+y > z, z > END",
        **nodes("z"),
        x=lambda s: {"log": [lib.interrupt("a")]},
        y=lambda s: {"log": [lib.interrupt("b")]},
    )


@case(invoke({"n": 1}), answer_each(a="A", b="B"))
def two_nodes_interrupt_and_are_answered_together(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > x, START > y, x+y > z, z > END",
        **nodes("z"),
        x=lambda s: {"log": [lib.interrupt("a")]},
        y=lambda s: {"log": [lib.interrupt("b")]},
    )


@case(invoke({"n": 0}), answer("go"), answer("go"), answer("stop"))
def a_node_of_a_loop_interrupts_in_each_round(lib: Library) -> Any:
    g = lib.build(Count, "START > ask", ask=lambda s: {"n": s["n"] + 1, "log": [lib.interrupt(f"round {s['n']}?")]})
    return g.add_conditional_edges("ask", lambda s: lib.END if s["log"][-1] == "stop" else "ask", ["ask", lib.END])


@case(invoke({"n": 1}), resume(), answer("yes"))
def a_resume_without_an_answer(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt("?")]})


@case(invoke({"n": 1}), invoke({"n": 2}), answer("late"))
def a_new_input_on_a_waiting_thread(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt(s["n"])]})


@case(invoke({"n": 1}), answer("x"), resume())
def a_node_fails_after_its_answer_and_is_resumed(lib: Library) -> Any:
    """The resume gives the node the same answer."""
    errors = [ConnectionError("no route")]

    def node(state: Count) -> dict[str, Any]:
        answer_given = lib.interrupt("?")
        if errors:
            raise errors.pop()
        return {"log": [answer_given]}

    return lib.build(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), resume(), answer("yes"))
def one_node_interrupts_and_its_sibling_fails(lib: Library) -> Any:
    return lib.build(
        Count,
        "START > ask, START > b, ask+b > z, z > END",
        **nodes("z"),
        ask=lambda s: {"log": [lib.interrupt("?")]},
        b=_flaky({"log": ["b"]}, after=0.2),
    )


@case(invoke({"n": 1}), resume(), interrupt_before=["b"])
def a_breakpoint_before_a_node(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), resume(), interrupt_after=["a"])
def a_breakpoint_after_a_node(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), resume(), resume(), resume(), interrupt_before=["b"], interrupt_after=["b"])
def breakpoints_on_both_sides_of_a_node(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > c, c > END", **nodes("a b c"))


@case(invoke({"n": 1}), resume(), interrupt_after=["b"])
def a_breakpoint_after_the_last_node(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), resume(), resume(), interrupt_before=["a"])
def a_breakpoint_before_one_of_two_first_nodes(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a > END, b > END", **nodes("a b"))


@case(invoke({"n": 0}), resume(), resume(), resume(), interrupt_before=["a"])
def a_breakpoint_in_a_loop(lib: Library) -> Any:
    g = lib.build(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 3 else lib.END, ["a", lib.END])


@case(
    invoke({"n": 1}, interrupt_before=["b"]),
    resume(interrupt_after=["b"]),
    resume(interrupt_before="*"),
    resume(),
)
def breakpoints_of_one_invoke(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > c, c > d, d > END", **nodes("a b c d"))


@case(invoke({"n": 1}), invoke({"n": 2}), interrupt_before=["b"])
def a_new_input_at_a_breakpoint(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), answer("yes", interrupt_before=["b"]), resume())
def an_answer_followed_by_a_breakpoint_of_the_invoke(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > b, b > END", ask=lambda s: {"log": [lib.interrupt("?")]}, **nodes("b"))


@case(invoke({"n": 1}), answer("yes"), resume(), interrupt_before=["b"])
def an_answer_followed_by_a_breakpoint_of_the_graph(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > b, b > END", ask=lambda s: {"log": [lib.interrupt("?")]}, **nodes("b"))


@case(invoke({"n": 1}, interrupt_before=["b"]), answer("yes"), resume())
def an_answer_after_an_invoke_with_breakpoints(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > b, b > END", ask=lambda s: {"log": [lib.interrupt("?")]}, **nodes("b"))


@case(invoke({"n": 1}), update({"n": 7}, as_node="a"), resume(), answer("yes"))
def an_update_as_another_node_on_a_waiting_thread(lib: Library) -> Any:
    return lib.build(
        Count, "START > a, a > ask, ask > END", ask=lambda s: {"log": [lib.interrupt(s["n"])]}, **nodes("a")
    )


@case(invoke({"n": 1}), resume(), resume(), resume(), interrupt_before="*")
def a_breakpoint_before_every_node(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))
