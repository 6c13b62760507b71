"""Threads whose latest run another workflow has left, or whose record is damaged or of another version."""

from __future__ import annotations

from hypothesis import given

from tests.attack.budget import examples
from tests.attack.oracle import Oracle
from tests.attack.programs import Program
from tests.attack.strategies import foreign_programs


@examples(20)
@given(program=foreign_programs)
async def test_a_foreign_run_is_read_or_refused(oracle: Oracle, program: Program) -> None:
    """Every method ends in an answer, or in an error of stepgraph's that says what is wrong with the thread."""
    await oracle.judge(program)
