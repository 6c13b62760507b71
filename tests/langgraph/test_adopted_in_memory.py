"""Every program does in memory what it does in LangGraph: the same results, the same interrupts, the same history."""

from __future__ import annotations

import pytest

from stepgraph.testing import MemoryRunner
from tests.langgraph import agents, control_flow, nesting, states, surroundings
from tests.langgraph.programs import Program

CONFIG = {"configurable": {"thread_id": "t"}}


MODULES = (control_flow, states, surroundings, agents, nesting)
PROGRAMS = [param for module in MODULES for param in module.programs.params()]


@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_does_what_it_does_in_langgraph(program: Program) -> None:
    """The results of all calls, the interrupts after each, and the checkpoints in the end."""
    theirs = await program.in_langgraph()
    ours = await program.here(MemoryRunner(program.adopted()), CONFIG)
    assert ours.results == theirs.results
    assert ours.interrupts == theirs.interrupts
    assert ours.history == theirs.history
