"""The arguments that the methods of `CompiledGraph`, `GraphClient` and `MemoryRunner` have in common.

Owns their names, types and meaning. Reading them is the business of `stepgraph.protocol.method_arguments`.

A method that only passes keywords on takes ``**options: Unpack[InvokeKeywords]``. The method that uses them has them as
ordinary parameters with defaults, so that a misspelled keyword is a `TypeError` which names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from stepgraph.protocol.commands import OnBusy
from stepgraph.protocol.config import Breaks, Config

Supersteps = Sequence[Sequence[tuple[Any, str | None]]]
"""Several updates by hand: for each super-step a list of ``(values, as_node)``, which are applied together."""


class BreakpointKeywords(TypedDict, total=False):
    """Breakpoints of one invocation, in place of those given to ``compile``. `None` leaves those of the graph."""

    interrupt_before: Breaks
    """Nodes before which the thread pauses: a name, several, or ``"*"`` for all."""
    interrupt_after: Breaks
    """Nodes after which the thread pauses: a name, several, or ``"*"`` for all."""


class InvokeKeywords(BreakpointKeywords, total=False):
    """The keywords of ``invoke`` on Temporal."""

    on_busy: OnBusy
    """What to do if the thread is running; ``"refuse"`` by default.

    ``"refuse"`` raises `ThreadBusyError`. ``"enqueue"`` puts the input at the end of the thread's input queue: it runs
    once the thread is idle. ``"cancel"`` stops the running nodes, keeps the results of finished ones, and puts the
    input at the front of the queue.
    """


class HistoryKeywords(TypedDict, total=False):
    """The keywords of ``get_state_history``: which of the thread's checkpoints it returns. All by default."""

    filter: Mapping[str, Any] | None
    """Metadata that a checkpoint must have, for example ``{"source": "loop"}``."""
    before: Config | None
    """A config with a checkpoint id: return only older checkpoints."""
    limit: int | None
    """The largest number of checkpoints to return."""
