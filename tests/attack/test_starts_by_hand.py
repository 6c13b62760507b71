"""Runs that are started by hand, with any input and any options."""

from __future__ import annotations

from hypothesis import given

from tests.attack.budget import examples
from tests.attack.oracle import Oracle
from tests.attack.programs import Program
from tests.attack.strategies import programs, starts


@examples(15)
@given(program=programs(starts, on=("new", "done", "failed")))
async def test_a_start_by_hand_runs_or_fails_with_the_reason(oracle: Oracle, program: Program) -> None:
    """A run that cannot begin fails with an error of stepgraph's, and leaves the thread as it was."""
    await oracle.judge(program)
