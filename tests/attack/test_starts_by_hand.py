"""Runs that are started by hand, with any input and any options."""

from __future__ import annotations

from hypothesis import assume, given

from tests.attack.budget import examples
from tests.attack.known_faults import is_known
from tests.attack.oracle import Oracle
from tests.attack.programs import Program
from tests.attack.strategies import programs, starts


@examples(15)
@given(program=programs(starts, on=("new", "done", "failed")))
async def test_a_start_by_hand_runs_or_fails_with_the_reason(oracle: Oracle, program: Program) -> None:
    """A run that cannot begin fails with an error of stepgraph's, and leaves the thread as it was."""
    assume(not is_known(program))
    await oracle.judge(program)
