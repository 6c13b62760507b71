"""What the loop of a run and its handlers share: the phase, the thread, the queues, and what is published of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.common import SearchAttributeUpdate

from stepgraph.drive.thread_io import ThreadIO
from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, sendable
from stepgraph.protocol.commands import CommandAnswer, InvokeCommand
from stepgraph.protocol.opening import Opening, RunSettings
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.status import ThreadStatus, current_status
from stepgraph_workflows.command_queue import CommandQueue
from stepgraph_workflows.input_queue import InputQueue
from stepgraph_workflows.phases import Phase
from stepgraph_workflows.publisher import Publisher
from stepgraph_workflows.thread_activities import thread_io

MAX_SIGNAL_ERRORS = 20
"""How many refused signals the state shows."""

MAX_ERROR_CHARACTERS = 500
"""Characters that are kept of each of their errors, which quote what the sender sent."""


class RunState:
    """The state of one run. `RunLoop` moves it on; the handlers of `GraphWorkflow` read it and fill its queues."""

    def __init__(self) -> None:
        self.phase = Phase.OPENING
        self.opening: Opening | None = None
        """The answer of `open_thread`; `None` until there is one."""
        self.restored_thread: Thread | None = None
        """The thread; `None` until it has been restored from the opening."""
        self.has_begun = False
        """Whether the thread is open, and has taken what the run was started for."""
        self.config: dict[str, Any] = {}
        """What nodes see of the caller's config."""
        self.signal_errors: list[str] = []
        """Why signals were refused."""
        self.commands = CommandQueue()
        self.inputs = InputQueue()
        self.publisher = Publisher()

    @property
    def thread(self) -> Thread:
        """The thread, in a run that has restored it."""
        assert self.restored_thread is not None, "the run has restored its thread"
        return self.restored_thread

    @property
    def settings(self) -> RunSettings:
        """The recorded settings, in a run that has been opened."""
        assert self.opening is not None, "the run has been opened"
        return self.opening.settings

    @property
    def restored_record(self) -> Record | None:
        """The record that the thread was restored from."""
        return self.opening.record if self.opening is not None else None

    @property
    def io(self) -> ThreadIO:
        """What commands and commits need beyond the thread."""
        return thread_io(self.settings)

    @property
    def is_idle(self) -> bool:
        """Whether the thread runs nothing, and no command waits after which it would."""
        return self.phase.is_idle and not self.commands.has_one_that_runs

    @property
    def is_free(self) -> bool:
        """Whether an input may begin at once: the thread is idle, and no input is queued."""
        return self.is_idle and not self.inputs

    @property
    def _is_running(self) -> bool:
        """Whether nodes run now, or will run without another command."""
        return self.phase not in (Phase.HOLDING, Phase.ENDING)

    def answer_to(self, id: str) -> CommandAnswer | None:
        """Return what became of a command that the thread has taken; `None` if it has not, or has forgotten it."""
        taken = self.thread.taken_commands.find(id)
        if taken is not None:
            config = config_for(self.thread.thread_id, taken.checkpoint_id)
            return CommandAnswer(run_id=taken.run_id, configurable=config["configurable"])
        if self.inputs.has(id):
            return CommandAnswer(run_id=self.thread.run_id, queued_input_id=id)
        return None

    def queue_input(self, id: str, command: InvokeCommand) -> None:
        """Queue an input for when the thread is idle; have the running nodes cancelled if its sender wants that."""
        self.inputs.add(id, command)
        if command.on_busy == "cancel":
            self.phase = self.phase.after_cancel_input()
        if self.restored_thread is not None:
            self.show_details()

    def show_signal_error(self, error: StepgraphError) -> None:
        """Record why a signal is refused. It fails nothing: the log and the state show the error."""
        message = sendable(error.message)[:MAX_ERROR_CHARACTERS]
        self.signal_errors = [*self.signal_errors[-MAX_SIGNAL_ERRORS + 1 :], message]
        self.publisher.log("signal refused", error=error)
        if self.restored_thread is not None:
            self.show_details()

    def publish(self, more: Sequence[SearchAttributeUpdate[Any]] = (), *, has_error: bool = False) -> None:
        """Publish the thread's page in the Web UI, and its search attributes where the namespace has them.

        ``has_error``: whether the run ends with an error.
        """
        if self.restored_thread is not None:
            self.show_details(has_error=has_error)
        if self.opening is not None and self.settings.search_attributes:
            status = self._status(has_error=has_error)
            self.publisher.update_search_attributes(self.restored_thread, status=status, more=more)

    def show_details(self, *, has_error: bool = False) -> None:
        """Set the thread's page in the Web UI."""
        self.publisher.show_details(
            self.thread,
            status=self._status(has_error=has_error),
            errors=self.signal_errors,
            hides_error_texts=self.settings.hides_error_texts,
            queued_inputs=len(self.inputs),
        )

    def _status(self, *, has_error: bool) -> ThreadStatus:
        return current_status(
            self.restored_thread, running=self._is_running, has_error=has_error, has_begun=self.has_begun
        )
