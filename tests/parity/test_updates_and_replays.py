"""Updates and replays make the same branches in stepgraph and LangGraph."""

from __future__ import annotations

from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from tests.conftest import Stage
from tests.parity.cases import Case, Cases, failing_once, nodes, observe_both
from tests.parity.libraries import Library
from tests.parity.operations import answer, bulk, invoke, replay, resume, update

cases = Cases()
case = cases.case


class Count(TypedDict):
    n: int
    log: Annotated[list[str], add]


@pytest.mark.parametrize("case", cases.params)
async def test_updates_and_replays_behave_as_in_langgraph(case: Case, stage: Stage) -> None:
    """Return values, heads and histories of each case are equal in both libraries."""
    ours, theirs = await observe_both(case, stage)
    assert ours.returned == theirs.returned
    assert ours.heads == theirs.heads
    assert ours.history == theirs.history


def _chain(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > b, b > c, c > END", **nodes("a b c"))


@case(invoke({"n": 1}), update({"n": 2}), resume())
def an_update_of_a_finished_thread_without_as_node(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 2, "log": ["hand"]}, as_node="a"), resume())
def an_update_as_an_earlier_node_of_a_finished_thread(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a", at=2), resume())
def an_update_at_an_earlier_checkpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["hand"]}, at=2), resume())
def an_update_at_an_earlier_checkpoint_without_as_node(lib: Library) -> Any:
    return _chain(lib)


@case(
    invoke({"n": 1}), update({"log": ["one"]}, as_node="a", at=2), update({"log": ["two"]}, as_node="a", at=2), resume()
)
def two_updates_at_one_checkpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="b", at=1), resume())
def an_update_as_a_node_that_had_not_run_yet(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 3}, as_node="__start__"), resume())
def an_update_as_start(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 3}, as_node="nobody"))
def an_update_as_an_unknown_node(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 3}))
def an_ambiguous_update_after_two_writers(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a > END, b > END", **nodes("a b"))


@case(invoke({"n": 1}), update({"n": -1}, as_node="a"), resume())
def an_update_that_runs_the_routers_of_its_author(lib: Library) -> Any:
    g = lib.build(Count, "START > a, minus > END, plus > END", **nodes("a minus plus"))
    return g.add_conditional_edges("a", lambda s: "minus" if s["n"] < 0 else "plus", ["minus", "plus"])


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a"), update({"log": ["hand"]}, as_node="b"), resume())
def updates_that_complete_a_join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 1}), update(None, as_node="a"), resume())
def an_update_without_values(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}, interrupt_before=["b"]), update({"n": 9}), resume())
def an_update_at_a_breakpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}, interrupt_before=["b"]), update({"log": ["hand"]}, as_node="b"), resume())
def an_update_as_the_node_at_a_breakpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(2), replay(1))
def replays_of_two_checkpoints(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(4))
def a_replay_of_a_finished_head(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(0))
def a_replay_of_the_input(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(1))
def a_replay_of_parallel_nodes(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 1}), replay(2))
def a_replay_in_the_middle_of_a_join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}), invoke({"n": 2}), replay(2))
def a_replay_of_an_earlier_run(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(1, interrupt_before=["c"]), resume())
def a_replay_up_to_a_breakpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(2))
def a_replay_that_runs_routers_again(lib: Library) -> Any:
    turns = iter(["x", "y"])
    g = lib.build(Count, "START > a, a > b, x > END, y > END", **nodes("a b x y"))
    return g.add_conditional_edges("b", lambda s: next(turns), ["x", "y"])


@case(invoke({"n": 1}), answer("first"), replay(1), answer("second"))
def a_replay_that_interrupts_again(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt("?")]})


@case(invoke({"n": 1}), update({"n": 2}, as_node="a", at=1), replay(1), update({"n": 3}, as_node="b"), resume())
def updates_and_replays_in_turn(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 2}, as_node="a"), invoke({"n": 3}))
def an_input_after_an_update(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}, interrupt_before=["b"]), update(None, as_node="__end__"), resume())
def an_update_as_end_at_a_breakpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), bulk([({"log": ["x"]}, "a"), ({"log": ["y"]}, "c")], [({"n": 7}, "a")]), resume())
def several_updates_at_once(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="ask"), resume())
def an_update_as_a_waiting_node(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > z, z > END", ask=lambda s: {"log": [lib.interrupt("?")]}, **nodes("z"))


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a"), resume())
def an_update_as_a_failed_node(lib: Library) -> Any:
    return lib.build(Count, "START > a, a > z, z > END", a=failing_once(ConnectionError("x"), None), **nodes("z"))


@case(invoke({"n": 1}), replay(1))
def a_replay_of_a_failed_head_with_finished_siblings(lib: Library) -> Any:
    ran: list[int] = []

    def counted(state: Count) -> dict[str, Any]:
        ran.append(1)
        return {"log": [f"run {len(ran)}"]}

    flaky = failing_once(ConnectionError("x"), {"log": ["b"]}, after=0.2)
    return lib.build(Count, "START > a, START > b, a+b > z, z > END", a=counted, b=flaky, **nodes("z"))


@case(invoke({"n": 1}), update({"n": 9}), resume(), interrupt_before=["b"])
def an_update_at_a_breakpoint_before_a_node_of_the_graph(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 9}), resume(), interrupt_after=["a"])
def an_update_at_a_breakpoint_after_a_node_of_the_graph(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), resume(), replay(1), resume(), interrupt_before=["b"])
def a_replay_that_pauses_at_a_breakpoint_of_the_graph(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(2), interrupt_before=["b"])
def a_replay_at_a_breakpoint_of_the_graph(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), replay(1), answer("x"))
def a_replay_of_a_waiting_interrupt(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > END", ask=lambda s: {"log": [lib.interrupt("?")]})


@case(invoke({"n": 1}), update({"n": 3}, at=1), resume())
def an_update_at_the_checkpoint_after_the_input(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > z, z > END", **nodes("a b z"))


@case(invoke({"n": 1}), update({"n": 2}, as_node="b", at=0), resume())
def an_update_as_a_node_at_the_input_checkpoint(lib: Library) -> Any:
    return _chain(lib)


@case(invoke({"n": 1}), update({"n": 3}, as_node="c", at=2), resume())
def an_update_as_the_last_source_of_a_join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


def _join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, a+b > c, c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a", at=2), resume(), update(None, as_node="a", at=2))
def an_update_as_a_source_of_a_complete_join(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 1}, interrupt_before=["c"]), update({"log": ["x"]}, as_node="a"), update(None, "b"), resume())
def updates_as_both_sources_of_a_complete_join(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 1}, interrupt_before=["c"]), bulk([({"log": ["x"]}, "a"), ({"log": ["y"]}, "b")]), resume())
def both_sources_of_a_complete_join_at_once(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 1}), update({"log": ["hand"]}, as_node="a", at=3), update(None, as_node="b"), resume())
def updates_as_both_sources_after_the_target_has_run(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 1}, interrupt_before=["c"]), invoke({"n": 2}), update({"log": ["x"]}, "b", at=6), resume())
def a_complete_join_before_and_after_an_input(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 1}), update({"n": 3}, as_node="b", at=3), resume())
def an_update_beside_a_complete_join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}, interrupt_before=["c"]), update(None, as_node="__end__"), update({"n": 2}, "a"), resume())
def an_update_as_end_at_an_incomplete_join(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}, interrupt_before=["c"]), update(None, as_node="__end__"), update({"n": 2}, "c"), resume())
def an_update_as_end_keeps_the_sources_that_have_finished(lib: Library) -> Any:
    return lib.build(Count, "START > a, START > b, b > c, a+c > z, z > END", **nodes("a b c z"))


@case(invoke({"n": 1}, interrupt_before=["c"]), update(None, as_node="__end__"), update({"n": 2}, "a"), resume())
def an_update_as_end_at_a_complete_join(lib: Library) -> Any:
    return _join(lib)


@case(invoke({"n": 1}), replay(3), update({"n": 0}, at=2), resume(), replay(0))
def replays_and_updates_of_a_loop(lib: Library) -> Any:
    g = lib.build(Count, "START > a", a=lambda s: {"n": s["n"] + 1})
    return g.add_conditional_edges("a", lambda s: "a" if s["n"] < 4 else lib.END, ["a", lib.END])


@case(invoke({"n": 1}), answer("x"), update({"n": 2}, as_node="ask", at=1), resume(), replay(1), answer("y"))
def interrupts_updates_and_replays_in_turn(lib: Library) -> Any:
    return lib.build(Count, "START > ask, ask > z, z > END", ask=lambda s: {"log": [lib.interrupt("?")]}, **nodes("z"))
