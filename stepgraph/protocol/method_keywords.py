"""The arguments that the methods of `CompiledGraph`, `GraphClient` and `MemoryRunner` have in common.

Owns their names, types and meaning. Reading them is the business of `stepgraph.protocol.method_arguments`.

A method that only passes keywords on takes ``**options: Unpack[InvokeKeywords]``. The method that uses them has them as
ordinary parameters with defaults, so that a misspelled keyword is a `TypeError` which names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from stepgraph.engine.spec import Durability
from stepgraph.protocol.commands import OnBusy
from stepgraph.protocol.config import Breaks, Config
from stepgraph.protocol.invoke_result import OutputKeys

Supersteps = Sequence[Sequence[tuple[Any, str | None]]]
"""Several updates by hand: for each super-step a list of ``(values, as_node)``, which are applied together."""


class RunKeywords(TypedDict, total=False):
    """The keywords of ``invoke``, in memory and on Temporal. The breakpoints and the durability are of one invocation,
    in place of those given to ``compile``; `None` leaves those of the graph."""

    context: Any
    """What nodes find as ``runtime.context``: an instance of the graph's ``context_schema``, or a mapping of its keys.
    It travels as JSON data."""
    stream_mode: str
    """``"values"``, the only one that ``invoke`` has here."""
    print_mode: Any
    """Has no effect."""
    output_keys: OutputKeys
    """The keys to return, in place of those of ``output_schema``; for one key as a string, its value."""
    interrupt_before: Breaks
    """Nodes before which the thread pauses: a name, several, or ``"*"`` for all."""
    interrupt_after: Breaks
    """Nodes after which the thread pauses: a name, several, or ``"*"`` for all."""
    durability: Durability | None
    """When super-steps are recorded: ``"sync"``, ``"async"`` or ``"exit"``."""
    control: None
    """LangGraph's control of a run; it must be `None`."""
    version: str
    """``"v1"``, the only form of a result here."""
    debug: bool | None
    """Has no effect: the log of level ``debug`` tells more."""


class InvokeKeywords(RunKeywords, total=False):
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
