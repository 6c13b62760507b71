"""Updates and replays leave the same branches here and in LangGraph."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, both, failing_once, nodes
from tests.parity.dialect import Dialect
from tests.parity.steps import answer, bulk, invoke, replay, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@pytest.mark.parametrize("case", cases.found)
async def test_a_thread_written_to_by_hand_tells_the_same_story(case: Case, stage: Stage) -> None:
    """Results, heads and histories are equal."""
    here, there = await both(case, stage)
    assert here.returned == there.returned
    assert here.heads == there.heads
    assert here.history == there.history


def _chain(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > b, b > c, c > END", **nodes("a b c"))


@case(invoke({"n": 1}), update({"n": 2}), resume())
def an_update_of_a_finished_thread_in_the_last_writers_name(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 2, "log": ["hand"]}, as_node="a"), resume())
def an_update_as_an_earlier_node_of_a_finished_thread(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a", at=2), resume())
def an_update_at_an_earlier_checkpoint(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"log": ["hand"]}, at=2), resume())
def an_update_at_an_earlier_checkpoint_in_its_last_writers_name(d: Dialect) -> Any:
    return _chain(d)


@case(
    invoke({"n": 1}), update({"log": ["one"]}, as_node="a", at=2), update({"log": ["two"]}, as_node="a", at=2), resume()
)
def two_updates_at_one_checkpoint(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="b", at=1), resume())
def an_update_as_a_node_that_had_not_run_yet(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 3}, as_node="__start__"), resume())
def an_update_as_the_start(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 3}, as_node="nobody"))
def an_update_as_an_unknown_node(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 3}))
def an_update_after_two_writers_is_ambiguous(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a > END, b > END", **nodes("a b"))


@case(invoke({"n": 1}), update({"n": -1}, as_node="a"), resume())
def an_update_asks_the_routers_of_its_author(d: Dialect) -> Any:
    g = d.draw(Count, "START > a, minus > END, plus > END", **nodes("a minus plus"))
    return g.add_conditional_edges("a", lambda s: "minus" if s["n"] < 0 else "plus", ["minus", "plus"])


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a"), update({"log": ["hand"]}, as_node="b"), resume())
def updates_complete_a_join(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 1}), update(None, as_node="a"), resume())
def an_update_without_values(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}, interrupt_before=["b"]), update({"n": 9}), resume())
def an_update_at_a_breakpoint(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}, interrupt_before=["b"]), update({"log": ["hand"]}, as_node="b"), resume())
def an_update_in_place_of_the_node_at_a_breakpoint(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(2), replay(1))
def replays_of_two_checkpoints(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(4))
def a_replay_of_a_finished_head(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(0))
def a_replay_of_the_input(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(1))
def a_replay_of_a_fan(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 1}), replay(2))
def a_replay_in_the_middle_of_a_join(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}), invoke({"n": 2}), replay(2))
def a_replay_of_an_earlier_run(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(1, interrupt_before=["c"]), resume())
def a_replay_up_to_a_breakpoint(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(2))
def a_replay_asks_routers_again(d: Dialect) -> Any:
    turns = iter(["x", "y"])
    g = d.draw(Count, "START > a, a > b, x > END, y > END", **nodes("a b x y"))
    return g.add_conditional_edges("b", lambda s: next(turns), ["x", "y"])


@case(invoke({"n": 1}), answer("first"), replay(1), answer("second"))
def a_replay_asks_people_again(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt("?")]})


@case(invoke({"n": 1}), update({"n": 2}, as_node="a", at=1), replay(1), update({"n": 3}, as_node="b"), resume())
def updates_and_replays_in_turn(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 2}, as_node="a"), invoke({"n": 3}))
def an_input_after_an_update(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}, interrupt_before=["b"]), update(None, as_node="__end__"), resume())
def an_update_as_the_end_clears_what_was_next(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), bulk([({"log": ["x"]}, "a"), ({"log": ["y"]}, "c")], [({"n": 7}, "a")]), resume())
def several_updates_at_once(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="ask"), resume())
def an_update_in_place_of_an_answer(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > z, z > END", ask=lambda s: {"log": [d.interrupt("?")]}, **nodes("z"))


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a"), resume())
def an_update_in_place_of_a_node_that_failed(d: Dialect) -> Any:
    return d.draw(Count, "START > a, a > z, z > END", a=failing_once(ConnectionError("x"), None), **nodes("z"))


@case(invoke({"n": 1}), replay(1))
def a_replay_of_a_failed_head_runs_finished_siblings_again(d: Dialect) -> Any:
    ran: list[int] = []

    def counted(state: Count) -> dict[str, Any]:
        ran.append(1)
        return {"log": [f"run {len(ran)}"]}

    flaky = failing_once(ConnectionError("x"), {"log": ["b"]}, after=0.2)
    return d.draw(Count, "START > a, START > b, a+b > z, z > END", a=counted, b=flaky, **nodes("z"))


@case(invoke({"n": 1}), update({"n": 9}), resume(), interrupt_before=["b"])
def an_update_before_a_breakpoint_of_the_graph_is_passed_with_it(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 9}), resume(), interrupt_after=["a"])
def an_update_after_a_breakpoint_of_the_graph(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), resume(), replay(1), resume(), interrupt_before=["b"])
def a_replay_stops_at_the_breakpoints_of_the_graph(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(2), interrupt_before=["b"])
def a_replay_of_a_thread_at_a_breakpoint_passes_it(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), replay(1), answer("x"))
def a_replay_of_a_thread_that_waits_asks_again(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > END", ask=lambda s: {"log": [d.interrupt("?")]})


@case(invoke({"n": 1}), update({"n": 3}, at=1), resume())
def an_update_at_the_input_starts_again(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 1}), update({"n": 2}, as_node="b", at=0), resume())
def an_update_as_a_node_before_there_was_an_input(d: Dialect) -> Any:
    return _chain(d)


@case(invoke({"n": 1}), update({"n": 3}, as_node="c", at=2), resume())
def an_update_in_place_of_the_last_source_of_a_join(d: Dialect) -> Any:
    return d.draw(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}), replay(3), update({"n": 0}, at=2), resume(), replay(0))
def a_loop_is_left_and_taken_again_in_many_ways(d: Dialect) -> Any:
    g = d.draw(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 4 else d.END, ["a", d.END])


@case(invoke({"n": 1}), answer("x"), update({"n": 2}, as_node="ask", at=1), resume(), replay(1), answer("y"))
def questions_updates_and_replays_in_turn(d: Dialect) -> Any:
    return d.draw(Count, "START > ask, ask > z, z > END", ask=lambda s: {"log": [d.interrupt("?")]}, **nodes("z"))
