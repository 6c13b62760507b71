"""The methods of a graph, called with any config and any arguments."""

from __future__ import annotations

from hypothesis import given

from tests.attack.budget import examples
from tests.attack.oracle import Oracle
from tests.attack.programs import Program
from tests.attack.strategies import invokes, programs, reading, updating


@examples(15)
@given(program=programs(invokes))
async def test_an_invoke_is_accepted_or_refused(oracle: Oracle, program: Program) -> None:
    """An input or an answer is in the history once, or the caller has an error of stepgraph's."""
    await oracle.judge(program)


@examples(15)
@given(program=programs(updating))
async def test_an_update_or_a_fork_is_accepted_or_refused(oracle: Oracle, program: Program) -> None:
    """Updates and forks at any checkpoint, in any name."""
    await oracle.judge(program)


@examples(10)
@given(program=programs(reading, on=("new", "waiting", "done", "failed")))
async def test_reading_returns_or_raises_an_error_of_stepgraphs(oracle: Oracle, program: Program) -> None:
    """State and history, with any filter, at any checkpoint."""
    await oracle.judge(program)
