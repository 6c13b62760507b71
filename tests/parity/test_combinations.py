"""Joins, loops, routers, questions, defaults and updates, several at a time, are the same here and in LangGraph."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import add
from typing import Annotated, Any, TypedDict

import pytest
from pydantic import BaseModel, Field

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, both, failing_once, nodes
from tests.parity.dialect import Dialect
from tests.parity.steps import answer, answer_each, bulk, invoke, replay, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@dataclass
class UpdateCommand:
    name: str = "nobody"
    count: int = 3
    note: str | None = None
    tags: Annotated[list[str], add] = field(default_factory=lambda: ["new"])
    total: Annotated[int, add] = 5


class Invoice(BaseModel):
    name: str = "nobody"
    count: int = Field(default_factory=lambda: 3)
    note: str | None = None
    tags: Annotated[list[str], add] = ["new"]
    total: Annotated[int, add] = 5


@pytest.mark.parametrize("case", cases.found)
async def test_several_things_at_a_time_tell_the_same_story(case: Case, stage: Stage) -> None:
    """Results, heads and histories are equal."""
    here, there = await both(case, stage)
    assert here.returned == there.returned
    assert here.heads == there.heads
    assert here.history == there.history


def _chain(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > END", **nodes("a b"))


def _join(d: Dialect) -> Any:
    """One source of the join is a step further away than the other."""
    return d.draw(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


def _join_in_a_loop(d: Dialect) -> Any:
    """One source of the join asks; the loop is left when the answer is ``stop``."""
    g = d.draw(
        Count,
        "START > split, split > ask, split > b, b > b2, ask+b2 > z",
        split=lambda s: {"n": s["n"] + 1},
        ask=lambda s: {"log": [d.interrupt(f"round {s['n']}?")]},
        **nodes("b b2 z"),
    )
    return g.add_conditional_edges("z", lambda s: d.END if "stop" in s["log"] else "split", ["split", d.END])


def _two_questions_a_round(d: Dialect) -> Any:
    def ask(state: Count) -> dict[str, Any]:
        return {"n": state["n"] + 1, "log": [d.interrupt("first") + d.interrupt("second")]}

    g = d.draw(Count, "START > ask", ask=ask)
    return g.add_conditional_edges("ask", lambda s: d.END if s["n"] > 1 else "ask", ["ask", d.END])


def _two_who_ask(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > x, START > y, x+y > z, z > END",
        **nodes("z"),
        x=lambda s: {"log": [d.interrupt("p")]},
        y=lambda s: {"log": [d.interrupt("q")]},
    )


def _one_question_a_round(d: Dialect) -> Any:
    g = d.draw(Count, "START > ask", ask=lambda s: {"n": s["n"] + 1, "log": [d.interrupt(s["n"])]})
    return g.add_conditional_edges("ask", lambda s: d.END if s["n"] > 1 else "ask", ["ask", d.END])


@case(invoke({"n": 0}), answer("a"), answer("b"), answer("stop"))
def a_join_in_a_loop_of_which_one_source_asks(d: Dialect) -> Any:
    return _join_in_a_loop(d)


@case(invoke({"n": 0}), answer("a"), replay(3), answer("stop"), replay(4), answer("c"))
def a_join_in_a_loop_that_is_replayed_while_under_way(d: Dialect) -> Any:
    return _join_in_a_loop(d)


@case(invoke({"n": 0}), update({"log": ["stop"]}, as_node="z"), resume(), invoke({"n": 7}), answer("stop"))
def a_join_in_a_loop_that_is_left_by_an_update(d: Dialect) -> Any:
    return _join_in_a_loop(d)


@case(invoke({"n": 0}), resume(), resume())
def a_failure_beside_a_join_in_a_loop(d: Dialect) -> Any:
    g = d.draw(
        Count,
        "START > split, split > a, split > b, a+b > z",
        split=lambda s: {"n": s["n"] + 1},
        b=failing_once(ConnectionError("x"), {"log": ["b"]}, after=0.2),
        z=lambda s: None,
        **nodes("a"),
    )
    return g.add_conditional_edges("z", lambda s: d.END if s["n"] > 1 else "split", ["split", d.END])


@case(invoke({"n": 1}), replay(1), update({"log": ["hand"]}, as_node="b", at=2), resume(), replay(4), invoke({"n": 3}))
def branches_of_branches_of_a_join(d: Dialect) -> Any:
    return _join(d)


@case(invoke({"n": 0}), invoke({"n": 5}), replay(1))
def three_routers_of_one_node(d: Dialect) -> Any:
    def first(state: Count) -> str:
        return "x"

    def second(state: Count) -> list[str]:
        return ["y", d.END]

    def third(state: Count) -> Any:
        return "w" if state["n"] > 3 else []

    g = d.draw(Count, "START > a, x > z, y > z, w > z, z > END", a=lambda s: {"n": s["n"] + 1}, **nodes("x y w z"))
    for router, destinations in ((first, ["x"]), (second, ["y", d.END]), (third, ["w"])):
        g.add_conditional_edges("a", router, destinations)
    return g


@case(invoke({"n": 0}), update({"n": 9}, as_node="a"), resume())
def an_update_as_a_node_of_two_routers_and_an_edge(d: Dialect) -> Any:
    def first(state: Count) -> str:
        return "to x"

    def second(state: Count) -> Any:
        return "w" if state["n"] > 3 else []

    g = d.draw(
        Count, "START > a, a > y, x > z, y > z, w > z, z > END", a=lambda s: {"n": s["n"] + 1}, **nodes("x y w z")
    )
    return g.add_conditional_edges("a", first, {"to x": "x"}).add_conditional_edges("a", second, ["w"])


@case(invoke({"n": 1}, interrupt_before=["b"]), update(None, as_node="__end__"), invoke({"n": 2}), resume())
def an_update_as_the_end_and_then_an_input(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update(None, as_node="__end__"), invoke({"n": 2}), answer("x"))
def a_question_that_an_update_as_the_end_takes_away(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt(s["n"])]})


@case(invoke({"n": 1}), update(None, as_node="__end__"), resume(), invoke({"n": 2}))
def a_join_under_way_that_an_update_as_the_end_takes_away(d: Dialect) -> Any:
    flaky = failing_once(ConnectionError("x"), {"log": ["c"]})
    return d.draw(Count, "START > a, START > b, b > c, a+c > z, z > END", **{**nodes("a b z"), "c": flaky})


@case(invoke({"n": 1}), bulk([(None, "__end__")], [({"n": 4}, "__start__")]), resume())
def the_end_and_the_start_in_one_bulk(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), bulk([({"n": 4}, "__start__")], [({"log": ["x"]}, "a"), ({"log": ["y"]}, "b")]), resume())
def the_start_and_then_two_nodes_in_one_bulk(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 0}), answer("a"), answer("b"), answer("c"), replay(2), answer("d"), answer("e"))
def two_questions_in_each_round_of_a_loop(d: Dialect) -> Any:
    return _two_questions_a_round(d)


@case(
    invoke({"n": 0}), answer("a"), update({"n": 1, "log": ["hand"]}, as_node="ask"), resume(), answer("b"), answer("c")
)
def an_update_between_two_questions(d: Dialect) -> Any:
    return _two_questions_a_round(d)


@case(invoke({"n": 0}), answer_each(p="P"), invoke({"n": 1}), answer_each(p="P", q="Q"))
def an_input_between_two_answers(d: Dialect) -> Any:
    return _two_who_ask(d)


@case(invoke({"n": 0}), answer_each(p="P"), resume(), answer_each(q="Q"))
def a_resume_between_two_answers(d: Dialect) -> Any:
    return _two_who_ask(d)


@case(invoke({"n": 0}), answer_each(p="P"), replay(1), answer_each(p="P2", q="Q2"))
def a_replay_between_two_answers(d: Dialect) -> Any:
    return _two_who_ask(d)


@case(invoke({"n": 0}), update({"n": 5}, as_node="y"), resume())
def an_update_as_the_finished_sibling_of_a_question(d: Dialect) -> Any:
    return d.draw(
        Count,
        "START > x, START > y, y > END, x > z, z > END",
        **nodes("y z"),
        x=lambda s: {"log": [d.interrupt("p")]},
    )


@case(
    invoke({"n": 0}, interrupt_after=["ask"]),
    answer("x", interrupt_after=["ask"]),
    resume(interrupt_after=["ask"]),
    answer("y"),
)
def a_breakpoint_after_a_question_in_a_loop(d: Dialect) -> Any:
    return _one_question_a_round(d)


@case(
    invoke({"n": 0}, interrupt_before=["ask"]),
    resume(interrupt_before=["ask"]),
    answer("y", interrupt_before=["ask"]),
    resume(),
    answer("z"),
)
def a_breakpoint_before_a_question_in_a_loop(d: Dialect) -> Any:
    return _one_question_a_round(d)


@case(invoke({}), invoke({"count": 7}), update({"tags": ["hand"]}, as_node="f"), resume())
def a_dataclass_with_defaults(d: Dialect) -> Any:
    return d.draw(
        UpdateCommand,
        "START > f, f > g, g > END",
        f=lambda s: {"tags": [s.name, str(s.count), str(s.note), str(s.total)]},
        g=lambda s: {"total": 1},
    )


@case(invoke(UpdateCommand()), invoke(UpdateCommand(name="x", note="y")))
def a_dataclass_of_defaults_as_the_input(d: Dialect) -> Any:
    return d.draw(UpdateCommand, "START > f, f > END", f=lambda s: UpdateCommand(name=s.name, total=s.count))


@case(invoke({}), invoke({"count": 7}), update({"tags": ["hand"]}, as_node="f"), resume())
def a_model_with_defaults(d: Dialect) -> Any:
    return d.draw(
        Invoice,
        "START > f, f > g, g > END",
        f=lambda s: {"tags": [s.name, str(s.count), str(s.note), str(s.total)]},
        g=lambda s: {"total": 1},
    )


@case(invoke(Invoice()), invoke(Invoice(name="x", note="y")), invoke(Invoice(note=None)))
def a_model_of_defaults_as_the_input(d: Dialect) -> Any:
    return d.draw(Invoice, "START > f, f > END", f=lambda s: Invoice(name=s.name, total=s.count))
