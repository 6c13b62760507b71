"""The options that a run is started with: those of its caller, and the state of the run that it continues."""

from __future__ import annotations

from typing import Any, Final

from stepgraph.engine.record import Record
from stepgraph.protocol.commands import CommandKind, InvokeOptions, QueuedInput, ResumeCommand, UpdateCommand
from stepgraph.protocol.message import Message

WORKFLOW_TASK_SECONDS: Final = 60
"""Seconds that a workflow task may take with external storage: it fetches, commits and stores states of 50 MB."""

DEFAULT_WORKFLOW_TASK_SECONDS: Final = 10
"""Temporal's default for it, which holds without external storage."""


class QueuedCommand(Message):
    """A command that came by signal, and that waits for the end of a super-step."""

    kind: CommandKind
    payload: dict[str, Any]
    """The command as JSON data."""


class ContinuedRun(Message):
    """What crosses continue-as-new, from a run to the next one of its chain.

    A run continues as new because its history has grown (``steps_left`` and the rest of its state go along), or because
    it is over and an input waits in the queue (``queued_input_id`` names the one that begins now).
    """

    record: Record | None = None
    """The record that the run restores the thread from; `None` if the thread has no checkpoint."""
    steps_left: int | None = None
    """What is left of the recursion limit; `None` if the limit starts anew."""
    runs_due_tasks: bool = True
    """Whether the run executes the tasks that are due, or waits for a command first."""
    passes_breakpoint: bool = False
    """Whether a caller has already asked to pass the breakpoint at the head."""
    errors: tuple[str, ...] = ()
    """Why signals of earlier runs were refused."""
    within_step: bool = False
    """Whether the run before has begun the super-step at the head: its failed tasks do not run again before the others
    have, and commands wait until then."""
    commands: tuple[QueuedCommand, ...] = ()
    """The commands that wait for the end of that super-step."""
    input_queue: tuple[QueuedInput, ...] = ()
    queued_input_id: str | None = None
    """The queued input that begins with this run; the invocation before it is over."""
    error: dict[str, Any] | None = None
    """The error that the invocation before it ended with."""


class StartOptions(InvokeOptions):
    """A run's second argument. Every field has a default, so a run that is started by hand needs none."""

    after: str | None = None
    """The run id of the thread's latest run, as the client saw it."""
    caller: str | None = None
    """The id of the input or command that the run was started for, the same whenever its caller asks again. It tells
    apart two clients that both asked for the run after ``after``; `None` for a run started by hand."""
    update: UpdateCommand | None = None
    """Apply this update and end; no node runs."""
    fork: UpdateCommand | None = None
    """Apply this fork, then run."""
    resume: ResumeCommand | None = None
    """Answer the interrupts that an externally ended run has left, then run."""
    continued: ContinuedRun | None = None
    """Set when the run before continued as new."""


class CommandRefused(Message):
    """The result of a run that was started for a command and refused it. The thread is unchanged."""

    refused: dict[str, Any]
    """The error that the caller of the command gets."""
    record: Record | None = None
    """The thread's record; `None` if the thread has no checkpoint."""
