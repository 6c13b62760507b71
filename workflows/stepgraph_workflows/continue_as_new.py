"""Continue-as-new for a run whose history has grown: when, and with which options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio import workflow

from stepgraph.engine.recent_history import with_recent_history
from stepgraph.engine.record import record_of
from stepgraph.engine.thread_view import ThreadView
from stepgraph.protocol.commands import QueuedInput
from stepgraph.protocol.opening import RunSettings
from stepgraph.protocol.start_options import ContinuedRun, QueuedCommand, StartOptions

MAX_EVENTS = 10_000
MAX_HISTORY_BYTES = 20_000_000
"""The size at which a run follows the server's suggestion to continue as new, whatever it costs. Servers terminate a
run at 51,200 events or 50 MB."""

MAX_EVENTS_IN_STEP = 2 * MAX_EVENTS
"""The size at which a run continues as new in the middle of a super-step. The tasks in flight end first, which adds
events."""

HISTORY_PER_STATE = 8
"""How many times the size of its state a history must have before a run follows the suggestion earlier."""


def should_continue_as_new(thread: ThreadView, settings: RunSettings, length: float) -> bool:
    """Return whether the run has become long to replay, or the server suggests to continue as new.

    Continue-as-new writes the state twice: as the end of one history and the beginning of the next. So a suggestion is
    followed only when the history has several times the size of the state, or nears what the server accepts.

    Args:
        thread: the run's thread.
        settings: the run's recorded settings.
        length: how long the run is to replay, in super-steps with an activity each.
    """
    if thread.finished or not thread.checkpoints:
        return False
    if length >= settings.continue_as_new_steps:
        return True
    if settings.continue_as_new_bytes is not None and thread.bytes_encoded >= settings.continue_as_new_bytes:
        return True
    info = workflow.info()
    return info.is_continue_as_new_suggested() and (
        info.get_current_history_length() >= MAX_EVENTS
        or info.get_current_history_size() >= min(MAX_HISTORY_BYTES, HISTORY_PER_STATE * thread.state_size)
    )


def should_postpone_tasks(settings: RunSettings, tasks_started: int) -> bool:
    """Return whether a run continues as new in the middle of a super-step, and postpones the tasks that have not
    started."""
    info = workflow.info()
    return (
        tasks_started >= settings.continue_as_new_tasks
        or info.get_current_history_length() >= MAX_EVENTS_IN_STEP
        or info.get_current_history_size() >= MAX_HISTORY_BYTES
    )


def next_start_options(
    thread: ThreadView,
    *,
    caller: str | None,
    config: dict[str, Any],
    runs_due_tasks: bool,
    errors: Sequence[str],
    input_queue: tuple[QueuedInput, ...],
    commands: tuple[QueuedCommand, ...] = (),
    within_step: bool = False,
) -> StartOptions:
    """Return the options of the run that continues this one.

    Args:
        thread: the run's thread.
        caller: the client that started this run, as `StartOptions.caller` names it.
        config: what nodes see of the caller's config.
        runs_due_tasks: whether the next run executes what is due, or waits for a command first.
        errors: why signals were refused.
        input_queue: the inputs that wait, the next one first.
        commands: the commands that came by signal and wait for the end of the super-step.
        within_step: whether the tasks at the head that have failed are not to run again before its other tasks have.
    """
    return StartOptions(
        after=thread.run_id,
        caller=caller,
        recursion_limit=thread.step_limit,
        config=config,
        interrupt_before=thread.breaks.before,
        interrupt_after=thread.breaks.after,
        durability=thread.durability,
        continued=ContinuedRun(
            record=with_recent_history(record_of(thread), thread),
            steps_left=thread.steps_left,
            runs_due_tasks=runs_due_tasks,
            passes_breakpoint=thread.passes_breakpoint,
            errors=tuple(errors),
            input_queue=input_queue,
            commands=commands,
            within_step=within_step,
        ),
    )
