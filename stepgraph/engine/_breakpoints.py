"""Breakpoints: where a thread stops before or after a node until it is told to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from stepgraph.engine.checkpoint import Checkpoint
from stepgraph.engine.constants import START
from stepgraph.engine.spec import GraphSpec


class Breakpoints(NamedTuple):
    """Names of nodes to stop before, and after; ``*`` is every node."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    def stop_at(self, checkpoint: Checkpoint) -> bool:
        """Whether a thread stops at a checkpoint; never where nothing is next, nor before an input is taken."""
        if not checkpoint.triggers or checkpoint.triggers == (START,):
            return False
        wrote = [name for name in checkpoint.writes or () if name != START] if checkpoint.source == "loop" else []
        return _any_of(self.before, checkpoint.triggers) or _any_of(self.after, wrote)


def breakpoints_for(spec: GraphSpec, before: Sequence[str] | None, after: Sequence[str] | None) -> Breakpoints:
    """Those of one invoke; `None` leaves those of the graph."""
    return Breakpoints(
        spec.interrupt_before if before is None else tuple(before),
        spec.interrupt_after if after is None else tuple(after),
    )


def _any_of(breaks: Sequence[str], names: Sequence[str]) -> bool:
    return bool(names) and ("*" in breaks or any(name in breaks for name in names))
