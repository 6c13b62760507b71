"""The commands that an open run has received: queued on arrival, applied one after the other between super-steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepgraph.drive.apply_command import apply_command
from stepgraph.drive.thread_io import ThreadIO
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError, StepgraphError, ThreadBusyError, UnknownFormatError
from stepgraph.protocol.commands import (
    CommandKind,
    InvokeCommand,
    ResumeCommand,
    ThreadCommand,
    UpdateCommand,
    runs_nodes,
)
from stepgraph.protocol.config import RunnableConfig
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.start_options import QueuedCommand
from stepgraph.protocol.thread_errors import fault_of
from stepgraph.serde.error_text import first_line, type_name
from stepgraph.temporal.payloads import argument_in

_SHAPES: Mapping[CommandKind, tuple[type[ThreadCommand], str]] = {
    "update": (UpdateCommand, '{"values": {...}, "as_node": "...", "checkpoint_id": "..."}'),
    "fork": (UpdateCommand, '{"values": {...}, "as_node": "...", "checkpoint_id": "..."}'),
    "resume": (ResumeCommand, '{"resume": "the answer"} or {"resume": {"<interrupt id>": "the answer"}}'),
    "invoke": (InvokeCommand, '{"input": {...}}'),
}


def parse_command(kind: CommandKind, arguments: Sequence[Any]) -> ThreadCommand:
    """Return the command in the arguments of an update or a signal, which may be anything that a sender can send.

    Raises:
        InvalidUpdateError: it is no command of this kind; the message names the shape that it takes.
    """
    model, shape = _SHAPES[kind]
    try:
        data = argument_in(arguments)
        if data is not None and not isinstance(data, Mapping):
            raise ValueError(f"got {type_name(data)}, not a JSON object")
        return model.model_validate(data or {})
    except (ValueError, UnknownFormatError) as error:  # pydantic's, too
        raise InvalidUpdateError(f"{kind!r} takes one argument, {shape}: {first_line(error)}.") from error


@dataclass
class PendingCommand:
    """A command from its arrival until it has been applied or refused."""

    kind: CommandKind
    command: ThreadCommand
    done: bool = False
    config: RunnableConfig | None = None
    """The config of the checkpoint that the command made."""
    error: StepgraphError | None = None
    id: str | None = None
    """The id that the command's caller gave it; `None` for one that came by signal."""
    came_too_late: bool = False
    """Whether the run ended before it applied the command, so that the thread's next run may take it."""
    on_error: Callable[[StepgraphError], None] | None = None
    """Receives the error of a command that came by signal, for which no caller waits."""

    @property
    def runs(self) -> bool:
        """Whether nodes run after the command; after an update none do."""
        return runs_nodes(self.kind)

    def refuse(self, error: StepgraphError) -> None:
        """Report the error to whoever sent the command."""
        self.error, self.done = error, True
        if self.on_error is not None:
            self.on_error(error)

    def end(self) -> None:
        """Report that the run ends before it has applied the command."""
        self.came_too_late = True
        self.refuse(ThreadBusyError("The run ended before this command was applied. Send it again."))


class CommandQueue:
    """The commands of a run, in the order of their arrival."""

    def __init__(self) -> None:
        self._pending: deque[PendingCommand] = deque()
        self._current: PendingCommand | None = None

    def __len__(self) -> int:
        """How many commands wait; the one that is being applied is not counted."""
        return len(self._pending)

    @property
    def is_applying(self) -> bool:
        """Whether a command is being applied, so that a local activity may be under way.

        No update may be accepted meanwhile. The SDK runs an update before it resolves a local activity that finished
        meanwhile, but a replay resolves the activity first: the update would be found in another place, for ever.
        """
        return self._current is not None

    @property
    def has_one_that_runs(self) -> bool:
        """Whether a command that waits or is being applied lets nodes run, so that the thread is not idle any more."""
        return any(pending.runs for pending in (*self._pending, *([self._current] if self._current else [])))

    def add(
        self,
        kind: CommandKind,
        command: ThreadCommand,
        *,
        id: str | None = None,
        on_error: Callable[[StepgraphError], None] | None = None,
    ) -> PendingCommand:
        """Queue a command."""
        pending = PendingCommand(kind, command, id=id, on_error=on_error)
        self._pending.append(pending)
        return pending

    def return_to_callers(self) -> None:
        """End the commands that came by update: their callers send them to the next run. Those by signal stay."""
        for pending in self._pending:
            if pending.on_error is None:
                pending.end()
        self._pending = deque(pending for pending in self._pending if not pending.done)

    @property
    def by_signal(self) -> tuple[QueuedCommand, ...]:
        """The commands that came by signal and wait, as the next run takes them."""
        return tuple(
            QueuedCommand(kind=pending.kind, payload=pending.command.to_json())
            for pending in self._pending
            if pending.on_error is not None
        )

    def end_all(self) -> None:
        """Report to the sender of every command that waits that the run ends before it applies the command."""
        while self._pending:
            self._pending.popleft().end()

    async def apply_next(self, thread: Thread, config: Mapping[str, Any], io: ThreadIO) -> PendingCommand:
        """Apply the command that has waited longest, and return it with what came of it."""
        pending = self._current = self._pending.popleft()
        try:
            await apply_command(thread, config, pending.kind, pending.command, io=io)
            if pending.id is not None:
                thread.remember_command(pending.id)
            pending.config, pending.done = config_for(thread.thread_id, thread.head_id), True
        except StepgraphError as error:
            pending.refuse(error)
        except Exception as fault:  # of stepgraph: the run goes on without the command
            pending.refuse(fault_of(fault))
        except BaseException:  # the run is cancelled: whoever sent the command must not wait for ever
            pending.end()
            raise
        finally:
            self._current = None
        return pending
