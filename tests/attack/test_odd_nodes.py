"""Nodes that raise, return and change what no node should."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.attack.behaviours import BEHAVIOURS
from tests.attack.budget import examples
from tests.attack.graphs import KINDS
from tests.attack.oracle import Oracle
from tests.attack.programs import Program
from tests.attack.strategies import node_programs


@examples(25)
@given(program=node_programs(st.sampled_from(sorted(BEHAVIOURS)), st.sampled_from(KINDS)))
async def test_a_node_finishes_or_fails_once(oracle: Oracle, program: Program) -> None:
    """A node without a retry policy runs once; its failure is a `NodeError`, and the thread can be read and resumed."""
    await oracle.judge(program)
