"""Arguments of the wrong kind are refused at the call, by an error that names the argument and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

import pytest

from stepgraph.errors import StepgraphError
from stepgraph.testing import MemoryRunner
from tests.core.graphs import THREAD, graph

HUGE = 10**6000


class State(TypedDict):
    n: int
    anything: Any


ODD_CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "before is text": (lambda r: list(r.get_state_history(THREAD, before="x")), "'before' must name a checkpoint"),
    "before has text": (
        lambda r: list(r.get_state_history(THREAD, before={"configurable": "x"})),
        "'before' must name a checkpoint",
    ),
    "filter is text": (lambda r: list(r.get_state_history(THREAD, filter="x")), "'filter' must be metadata"),
    "filter is a list": (lambda r: list(r.get_state_history(THREAD, filter=["x"])), "'filter' must be metadata"),
    "filter is no JSON": (lambda r: list(r.get_state_history(THREAD, filter={"step": {1}})), "plain JSON"),
    "limit is text": (lambda r: list(r.get_state_history(THREAD, limit="3")), "limit must be a whole number"),
    "as_node is a number": (lambda r: r.update_state(THREAD, {"n": 1}, as_node=5), "'as_node' must be the name"),
    "task_id is a number": (lambda r: r.update_state(THREAD, {"n": 1}, "a", task_id=5), "'task_id' must be the id"),
    "fork as a list": (lambda r: r.fork(THREAD, {"n": 1}, as_node=[]), "'as_node' must be the name"),
    "a number of super-steps": (lambda r: r.bulk_update_state(THREAD, 5), "a list of lists of updates"),
    "a number as super-step": (lambda r: r.bulk_update_state(THREAD, [5]), "a list of lists of updates"),
    "a short update": (lambda r: r.bulk_update_state(THREAD, [[({"n": 1},)]]), r"is \(values, as_node\)"),
    "a breakpoint is a number": (lambda r: r.invoke({"n": 1}, THREAD, interrupt_before=5), "A breakpoint is the name"),
    "breakpoints are numbers": (lambda r: r.invoke({"n": 1}, THREAD, interrupt_after=[5]), "A breakpoint is the name"),
    "a huge int": (lambda r: r.invoke({"n": HUGE}, THREAD), "'n' is declared int, got int: .*number out of range"),
    "a huge negative int": (lambda r: r.update_state(THREAD, {"n": -HUGE}, "human"), "'n' is declared int"),
    "a huge int inside": (lambda r: r.invoke({"anything": [HUGE]}, THREAD), "more than 4,299 digits"),
    "a huge int in the config": (lambda r: r.invoke({"n": 1}, {**THREAD, "metadata": {"k": HUGE}}), "plain JSON"),
    "a huge thread id": (lambda r: r.invoke({"n": 1}, {"configurable": {"thread_id": HUGE}}), "at most 255 bytes"),
    "a huge limit": (lambda r: r.invoke({"n": 1}, {**THREAD, "recursion_limit": HUGE}), "at most 1,000,000,000"),
}


@pytest.mark.parametrize("name", ODD_CALLS)
def test_an_odd_argument_is_refused_by_name(name: str) -> None:
    """The error is a `StepgraphError`, and the thread is as it was."""
    runner = MemoryRunner(graph(State, "START > a, a > END", a=lambda state: None))
    runner.invoke({"n": 1}, THREAD)
    before = runner.get_state(THREAD)
    call, message = ODD_CALLS[name]
    with pytest.raises(StepgraphError, match=message):
        call(runner)
    assert runner.get_state(THREAD) == before


def test_long_digits_in_a_text_are_no_long_integer() -> None:
    """A text of thousands of digits is a value like others, and so is an integer of 4,300 digits."""
    runner = MemoryRunner(graph(State, "START > a, a > END", a=lambda state: None))
    values = {"n": 10**4299, "anything": "7" * 9000}
    assert runner.invoke(values, THREAD) == values
