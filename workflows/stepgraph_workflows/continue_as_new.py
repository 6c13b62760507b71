"""A run that grew long goes on in another: when, and with what."""

from __future__ import annotations

from temporalio import workflow

from stepgraph.engine.recent_history import with_past
from stepgraph.engine.record import record_of
from stepgraph.engine.thread import Thread
from stepgraph.protocol.wire import Settings, StartOptions

MANY_EVENTS = 10_000
LARGE_HISTORY = 20_000_000
"""Events and bytes at which a run hands over when the server suggests it, whatever that costs; servers end a run at
51,200 events or 50 MB."""

HISTORY_FOR_STATE = 8
"""How many times its state a run writes before it hands over because the server suggests it."""


def is_long(thread: Thread, settings: Settings, length: float) -> bool:
    """Whether the run is to hand over: it takes long to replay, or the server suggests it.

    A hand-over writes the state anew, twice, so a suggestion waits until the history has several times that; not
    until it nears what the server takes. ``length`` is in super-steps.
    """
    if thread.finished or not thread.made:
        return False
    if length >= settings.hand_over_steps:
        return True
    if settings.hand_over_bytes is not None and thread.bytes_made >= settings.hand_over_bytes:
        return True
    info = workflow.info()
    return info.is_continue_as_new_suggested() and (
        info.get_current_history_length() >= MANY_EVENTS
        or info.get_current_history_size() >= min(LARGE_HISTORY, HISTORY_FOR_STATE * thread.state_size)
    )


def options_after(options: StartOptions, thread: Thread) -> StartOptions:
    """What the next run is to know of the thread, from what this one was told at its start."""
    return options.model_copy(
        update={
            "after": thread.run_id,
            "record": with_past(record_of(thread), thread),
            "steps_left": thread.steps_left,
            "recursion_limit": thread.step_limit,
            "interrupt_before": thread.breaks[0],
            "interrupt_after": thread.breaks[1],
            "passed": thread.passes_on,
            "update": None,
            "fork": None,
            "resume": None,
            "turn": None,
            "error": None,
        }
    )
