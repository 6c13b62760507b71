"""Signals, updates and queries of any name, with any arguments, as an operator's tools may send them."""

from __future__ import annotations

from hypothesis import given

from tests.attack.budget import examples
from tests.attack.oracle import Oracle
from tests.attack.programs import Program
from tests.attack.strategies import programs, queries, signals, updates

OPEN = ("waiting", "running")


@examples(15)
@given(program=programs(signals, on=OPEN))
async def test_a_signal_is_taken_or_told_of(oracle: Oracle, program: Program) -> None:
    """A signal moves the thread, or the state's errors say why not."""
    await oracle.judge(program)


@examples(15)
@given(program=programs(updates, on=OPEN))
async def test_an_update_is_answered_or_refused(oracle: Oracle, program: Program) -> None:
    """An update that is sent past the client gets an answer, or an error of stepgraph's."""
    await oracle.judge(program)


@examples(10)
@given(program=programs(queries, on=("waiting", "done", "failed")))
async def test_a_query_changes_nothing(oracle: Oracle, program: Program) -> None:
    """A query is answered, whatever it asks for."""
    await oracle.judge(program)
