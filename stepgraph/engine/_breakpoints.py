"""Breakpoints: the nodes before or after which a thread pauses until a resume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.constants import START
from stepgraph.engine.spec import GraphSpec


class Breakpoints(NamedTuple):
    """The nodes before and after which a thread pauses, by name; ``*`` stands for every node."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def pauses_at(self, checkpoint: Checkpoint) -> bool:
        """Return whether a thread pauses at a checkpoint.

        It never pauses where no node is due, nor where the input has not been written yet.
        """
        if not checkpoint.tasks or checkpoint.takes_input:
            return False
        writers = [name for name in checkpoint.writes or () if name != START] if checkpoint.source == "loop" else []
        return _matches(self.before, checkpoint.nodes) or _matches(self.after, writers)


def breakpoints_for(spec: GraphSpec, before: Sequence[str] | None, after: Sequence[str] | None) -> Breakpoints:
    """Return the breakpoints of one invoke; `None` stands for those that the graph was compiled with."""
    return Breakpoints(
        spec.interrupt_before if before is None else tuple(before),
        spec.interrupt_after if after is None else tuple(after),
    )


def _matches(patterns: Sequence[str], nodes: Sequence[str]) -> bool:
    return bool(nodes) and ("*" in patterns or any(name in patterns for name in nodes))
