"""Failures, questions and breakpoints stop a thread, and it goes on, the same here and in LangGraph."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, both, failing_once, nodes
from tests.parity.dialect import Dialect
from tests.parity.steps import answer, answer_each, invoke, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@pytest.mark.parametrize("case", cases.found)
async def test_a_thread_that_stood_still_tells_the_same_story(case: Case, stage: Stage) -> None:
    """Results, heads and histories are equal."""
    here, there = await both(case, stage)
    assert here.returned == there.returned
    assert here.heads == there.heads
    assert here.history == there.history


def _flaky(then: Any, after: float = 0.0) -> Any:
    return failing_once(ConnectionError("no route"), then, after=after)


@case(invoke({"n": 1}), resume())
def the_first_node_fails_once(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > END", a=_flaky({"log": ["a"]}))


@case(invoke({"n": 1}), resume(), resume())
def the_middle_of_a_chain_fails_once(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > c, c > END", **{**nodes("a b c"), "b": _flaky({"log": ["b"]})})


@case(invoke({"n": 1}), resume())
def one_of_three_siblings_fails_once(d: Dialect) -> Any:
    ran: list[str] = []

    def counted(state: Count) -> dict[str, Any]:
        ran.append("a")
        return {"log": [f"a ran {len(ran)} times"]}

    return d.draw(
        Count,
        "START > a, START > b, START > c, a+b+c > z, z > END",
        **{**nodes("c z"), "a": counted, "b": _flaky({"log": ["b"]}, after=0.2)},
    )


@case(invoke({"n": 1}), resume())
def a_sibling_that_writes_nothing_is_kept_too(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > a, START > b, a+b > z, z > END",
        **{**nodes("z"), "a": lambda s: None, "b": _flaky({"n": 2}, after=0.2)},
    )


@case(invoke({"n": 1}), resume(), resume())
def the_same_node_fails_twice(d: Dialect) -> Any:
    errors = [ValueError("second"), ConnectionError("first")]

    def node(state: Count) -> dict[str, Any]:
        if errors:
            raise errors.pop()
        return {"log": ["at last"]}

    return d.draw(Count, "START > a, a > END", a=node)


@case(invoke({"n": 0}), resume(), resume())
def a_node_of_a_loop_fails_in_its_third_round(d: Dialect) -> Any:
    errors = [TimeoutError("slow")]

    def node(state: Count) -> dict[str, Any]:
        if state["n"] == 2 and errors:
            raise errors.pop()
        return {"n": state["n"] + 1}

    return d.draw(Count, "START > a", a=node).add_conditional_edges("a", lambda s: "a" if s["n"] < 4 else d.END)


@case(invoke({"n": 1}), invoke({"n": 2}))
def a_new_input_on_a_failed_thread_discards_what_was_pending(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > a, START > b, a+b > z, z > END",
        a=lambda s: {"log": [f"a{s['n']}"]},
        b=_flaky({"log": ["b"]}, after=0.2),
        z=lambda s: None,
    )


@case(invoke({"n": 1}), resume())
def a_failure_of_the_last_source_of_a_join(d: Dialect) -> Any:
    return d.draw(
        Count, "START > a, START > b, b > c, a+c > z, z > END", **{**nodes("a b z"), "c": _flaky({"log": ["c"]})}
    )


@case(invoke({"n": 1}), answer("yes"))
def a_node_asks(d: Dialect) -> Any:
    return d.draw(
        Count, "START > a, a > ask, ask > END", **nodes("a"), ask=lambda s: {"log": [d.interrupt(f"n = {s['n']}?")]}
    )


@case(invoke({"n": 1}), answer({"approved": True, "by": "ann"}))
def an_answer_may_be_a_mapping(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt({"ok": None})["by"]]})


@case(invoke({"n": 1}), answer("one"), answer("two"), resume())
def a_node_asks_twice(d: Dialect) -> Any:
    return d.draw(
        Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt("first?"), d.interrupt("second?")]}
    )


@case(invoke({"n": 1}), answer("A"), resume())
def a_sibling_of_a_node_that_asks_finishes(d: Dialect) -> Any:
    return d.draw(
        Count, "START > ask, START > b, ask+b > z, z > END", **nodes("b z"), ask=lambda s: {"log": [d.interrupt("a?")]}
    )


@case(invoke({"n": 1}), answer_each(b="B"), answer_each(a="A"))
def two_nodes_ask_and_are_answered_one_by_one(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > x, START > y, x+y > z, z > END",
        **nodes("z"),
        x=lambda s: {"log": [d.interrupt("a")]},
        y=lambda s: {"log": [d.interrupt("b")]},
    )


@case(invoke({"n": 1}), answer_each(a="A", b="B"))
def two_nodes_ask_and_are_answered_at_once(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > x, START > y, x+y > z, z > END",
        **nodes("z"),
        x=lambda s: {"log": [d.interrupt("a")]},
        y=lambda s: {"log": [d.interrupt("b")]},
    )


@case(invoke({"n": 0}), answer("go"), answer("go"), answer("stop"))
def a_node_of_a_loop_asks_in_each_round(d: Dialect) -> Any:
    g = d.draw(Count, "START > ask", ask=lambda s: {"n": s["n"] + 1, "log": [d.interrupt(f"round {s['n']}?")]})
    return g.add_conditional_edges("ask", lambda s: d.END if s["log"][-1] == "stop" else "ask", ["ask", d.END])


@case(invoke({"n": 1}), resume(), answer("yes"))
def a_resume_without_an_answer_asks_again(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt("?")]})


@case(invoke({"n": 1}), invoke({"n": 2}), answer("late"))
def a_new_input_on_a_waiting_thread_discards_the_question(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt(s["n"])]})


@case(invoke({"n": 1}), answer("x"), resume())
def a_node_fails_after_its_answer_and_is_resumed(d: Dialect) -> Any:
    """The answer is kept, and not asked for again."""
    errors = [ConnectionError("no route")]

    def node(state: Count) -> dict[str, Any]:
        said = d.interrupt("?")
        if errors:
            raise errors.pop()
        return {"log": [said]}

    return d.draw(Count, "START > ask, ask > END", ask=node)


@case(invoke({"n": 1}), resume(), answer("yes"))
def one_node_asks_and_its_sibling_fails(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > ask, START > b, ask+b > z, z > END",
        **nodes("z"),
        ask=lambda s: {"log": [d.interrupt("?")]},
        b=_flaky({"log": ["b"]}, after=0.2),
    )


@case(invoke({"n": 1}), resume(), interrupt_before=["b"])
def a_breakpoint_before_a_node(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), resume(), interrupt_after=["a"])
def a_breakpoint_after_a_node(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), resume(), resume(), resume(), interrupt_before=["b"], interrupt_after=["b"])
def breakpoints_on_both_sides_of_a_node(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > c, c > END", **nodes("a b c"))


@case(invoke({"n": 1}), resume(), interrupt_after=["b"])
def a_breakpoint_after_the_last_node(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), resume(), resume(), interrupt_before=["a"])
def a_breakpoint_before_the_first_node_and_one_of_its_siblings(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a > END, b > END", **nodes("a b"))


@case(invoke({"n": 0}), resume(), resume(), resume(), interrupt_before=["a"])
def a_breakpoint_in_a_loop(d: Dialect) -> Any:
    g = d.draw(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 3 else d.END, ["a", d.END])


@case(
    invoke({"n": 1}, interrupt_before=["b"]),
    resume(interrupt_after=["b"]),
    resume(interrupt_before="*"),
    resume(),
)
def breakpoints_of_one_invoke(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > c, c > d, d > END", **nodes("a b c d"))


@case(invoke({"n": 1}), invoke({"n": 2}), interrupt_before=["b"])
def a_new_input_at_a_breakpoint_starts_again(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", **nodes("a b"))


@case(invoke({"n": 1}), answer("yes", interrupt_before=["b"]), resume())
def an_answer_up_to_a_breakpoint(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > b, b > END", ask=lambda s: {"log": [d.interrupt("?")]}, **nodes("b"))


@case(invoke({"n": 1}), answer("yes"), resume(), interrupt_before=["b"])
def an_answer_on_the_way_to_a_breakpoint(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > b, b > END", ask=lambda s: {"log": [d.interrupt("?")]}, **nodes("b"))


@case(invoke({"n": 1}, interrupt_before=["b"]), answer("yes"), resume())
def breakpoints_of_an_invoke_do_not_outlive_it(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > b, b > END", ask=lambda s: {"log": [d.interrupt("?")]}, **nodes("b"))


@case(invoke({"n": 1}), update({"n": 7}, as_node="a"), resume(), answer("yes"))
def an_update_as_another_node_discards_the_question(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > ask, ask > END", ask=lambda s: {"log": [d.interrupt(s["n"])]}, **nodes("a"))


@case(invoke({"n": 1}), resume(), resume(), resume(), interrupt_before="*")
def a_breakpoint_before_every_node(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))
