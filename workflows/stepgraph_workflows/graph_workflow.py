"""The workflow: one run of a thread, from the record of the run before it to the record it leaves.

Theory of operation. A run's first act is the local activity `open_thread`. Its recorded answer (the graph's spec, the
settings, the record of the thread's previous run) is all that the run works from, so a later deployment cannot
change what a replay decides. Then the engine's `Thread` says which tasks are due, activities run them, and the engine
commits::

    while tasks := thread.due():
        run(tasks)
        thread.commit()

That loop is `RunLoop`; what it shares with the handlers below is `RunState`. Commands from clients are queued on
arrival and applied between super-steps. The run's phase decides what the run accepts
(`stepgraph_workflows.phases`). A run that ends by itself leaves the thread's record:

* the graph has finished: the record is the result;
* something failed: the record is in the failure's details, beside the error;
* the command that the run was started for is refused: the result is a `CommandRefused` with the record as it was;
* the history has grown: the record is in the arguments of the next run (continue-as-new);
* inputs are queued: likewise, with the next of them, and with the error if something failed.

The run raises only `FailureError` and, when Temporal cancels it, `CancelledError`: any other exception fails the
workflow task again and again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from stepgraph.drive.apply_command import check_command
from stepgraph.engine.record import RECORD_LIMIT, record_of
from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import InvalidUpdateError, StepgraphError, suggest
from stepgraph.protocol.commands import CommandAnswer, CommandKind, IdleAnswer, InvokeCommand, ThreadCommand
from stepgraph.protocol.names import (
    CHECK,
    FORK,
    GET_HISTORY,
    GET_RECORD,
    GET_SPEC,
    GET_STATE,
    GET_VALUES,
    GET_WRITES,
    INVOKE,
    RESUME,
    UPDATE_STATE,
    WAIT_UNTIL_IDLE,
)
from stepgraph.protocol.thread_errors import fault_of, not_waiting, thread_busy
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.payloads import to_raw
from stepgraph_workflows import query_answers
from stepgraph_workflows.command_queue import parse_command
from stepgraph_workflows.phases import Phase
from stepgraph_workflows.run_loop import RunLoop
from stepgraph_workflows.run_state import RunState
from stepgraph_workflows.update_errors import not_ready, refusing, update_failure

IDLE_ANSWER_BYTES = 4_096
"""Size of a state above which `wait_until_idle` leaves the record out: an update's answer stays in the history, and in
the worker's memory."""


class GraphWorkflow:
    """One run, with its updates, signals and queries. No code of a graph is reached from here.

    `workflow_for` adds the specs of the worker's graphs: a query compares a command with them.
    """

    specs: Mapping[str, GraphSpec] = {}
    uses_external_storage: bool = False
    """Whether this worker has external storage, so that a query's answer need not come in pages."""

    def __init__(self) -> None:
        self._state = RunState()

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        """Run. The result is the thread's record, or a `CommandRefused`."""
        return await RunLoop(self._state).run(args)

    # Updates. A validator refuses what can be seen to be wrong before it enters the history.

    @workflow.update(name=UPDATE_STATE)
    @sdk_internals.takes_any_arguments
    async def update_state(self, *arguments: Any) -> RawValue:
        """Write values by hand before the next super-step; the answer is the new checkpoint's config."""
        return await self._apply("update", arguments)

    @update_state.validator
    @sdk_internals.takes_any_arguments
    def _validate_update_state(self, *arguments: Any) -> None:
        self._validate("update", arguments)

    @workflow.update(name=FORK)
    @sdk_internals.takes_any_arguments
    async def fork(self, *arguments: Any) -> RawValue:
        """Go on from a checkpoint before the next super-step; the answer is the new checkpoint's config."""
        return await self._apply("fork", arguments)

    @fork.validator
    @sdk_internals.takes_any_arguments
    def _validate_fork(self, *arguments: Any) -> None:
        self._validate("fork", arguments)

    @workflow.update(name=RESUME)
    @sdk_internals.takes_any_arguments
    async def resume(self, *arguments: Any) -> RawValue:
        """Answer interrupts; the thread runs on."""
        return await self._apply("resume", arguments)

    @resume.validator
    @sdk_internals.takes_any_arguments
    def _validate_resume(self, *arguments: Any) -> None:
        self._validate("resume", arguments)
        thread = self._state.thread
        runs_on = self._state.phase is Phase.RUNNING and not self._state.commands
        is_repeated = self._state.answer_to(_update_id()) is not None
        if runs_on and not is_repeated and not thread.waiting_interrupts and not thread.paused:
            raise update_failure(not_waiting(thread.thread_id, thread.run_id))

    @workflow.update(name=INVOKE)
    @sdk_internals.takes_any_arguments
    async def invoke(self, *arguments: Any) -> RawValue:
        """Give an idle thread an input, or have it pass a breakpoint; queue the input of a running one."""
        id = _update_id()
        if self._state.is_free or self._state.answer_to(id) is not None:
            return await self._apply("invoke", arguments)
        with refusing():
            command = parse_command("invoke", arguments)
            assert isinstance(command, InvokeCommand)
            self._state.queue_input(id, command)
        return to_raw(CommandAnswer(run_id=workflow.info().run_id, queued_input_id=id))

    @invoke.validator
    @sdk_internals.takes_any_arguments
    def _validate_invoke(self, *arguments: Any) -> None:
        self._refuse_if_not_ready()
        if self._state.answer_to(_update_id()) is not None:
            return
        with refusing():
            command = self._checked("invoke", arguments)
            assert isinstance(command, InvokeCommand)
            if self._state.is_free:
                return
            info = workflow.info()
            if command.on_busy == "refuse":
                raise thread_busy(info.workflow_id, info.run_id)
            self._state.inputs.check_room(info.workflow_id, command)

    @workflow.update(name=WAIT_UNTIL_IDLE)
    @sdk_internals.takes_any_arguments
    async def wait_until_idle(self, *arguments: Any) -> RawValue:
        """Answer once the thread is idle, or once its run is about to end or to continue as new."""
        await workflow.wait_condition(lambda: self._state.is_idle or self._state.phase.releases_callers)
        thread = self._state.restored_thread
        if thread is None or self._state.phase.releases_callers or not (thread.waiting_interrupts or thread.paused):
            return to_raw(IdleAnswer())
        if thread.state_size > IDLE_ANSWER_BYTES:
            return to_raw(IdleAnswer(query_record=True))
        with refusing():
            record = to_raw(IdleAnswer(record=record_of(thread)))
            return record if len(record.payload.data) <= RECORD_LIMIT else to_raw(IdleAnswer(query_record=True))

    @wait_until_idle.validator
    @sdk_internals.takes_any_arguments
    def _validate_wait_until_idle(self, *arguments: Any) -> None:
        self._refuse_if_not_ready()

    # Signals, for senders that cannot send updates. One that is refused fails nothing: the state shows why.

    @workflow.signal(name=UPDATE_STATE)
    @sdk_internals.takes_any_arguments
    def update_state_signal(self, *arguments: Any) -> None:
        """Queue an update by hand."""
        self._queue_command("update", arguments)

    @workflow.signal(name=FORK)
    @sdk_internals.takes_any_arguments
    def fork_signal(self, *arguments: Any) -> None:
        """Queue a fork."""
        self._queue_command("fork", arguments)

    @workflow.signal(name=RESUME)
    @sdk_internals.takes_any_arguments
    def resume_signal(self, *arguments: Any) -> None:
        """Queue an answer to interrupts."""
        self._queue_command("resume", arguments)

    @workflow.signal(name=INVOKE)
    @sdk_internals.takes_any_arguments
    def invoke_signal(self, *arguments: Any) -> None:
        """Give an idle thread an input; queue the input of a running one."""
        with self._showing_errors():
            command = self._checked("invoke", arguments)
            assert isinstance(command, InvokeCommand)
            self._state.inputs.check_room(workflow.info().workflow_id, command)
            if self._state.is_free:
                self._state.commands.add("invoke", command, on_error=self._state.show_signal_error)
            else:
                self._state.queue_input(str(workflow.uuid4()), command)

    @workflow.signal(dynamic=True)
    def unknown_signal(self, name: str, arguments: Sequence[RawValue]) -> None:
        """Show that there is no such signal."""
        known = (UPDATE_STATE, FORK, RESUME, INVOKE)
        self._state.show_signal_error(InvalidUpdateError(f"There is no signal {name!r}.{suggest(name, known)}"))

    # Queries

    @workflow.query(name=GET_STATE)
    @sdk_internals.takes_any_arguments
    def get_state(self, *arguments: Any) -> RawValue:
        """Return the head, or the checkpoint asked for, as a `StateSnapshot`."""
        return query_answers.state(
            self._state.restored_thread, arguments, self._state.signal_errors, in_one_piece=self.uses_external_storage
        )

    @workflow.query(name=GET_HISTORY)
    @sdk_internals.takes_any_arguments
    def get_state_history(self, *arguments: Any) -> RawValue:
        """Return this run's checkpoints, newest first, and which run has the older ones."""
        restored = self._state.restored_record
        return query_answers.history(
            self._state.restored_thread, restored, arguments, in_one_piece=self.uses_external_storage
        )

    @workflow.query(name=GET_RECORD)
    @sdk_internals.takes_any_arguments
    def get_record(self, *arguments: Any) -> RawValue:
        """Return the record that this run would leave if it ended now, or that of a checkpoint."""
        restored = self._state.restored_record
        return query_answers.record(
            self._state.restored_thread, restored, arguments, in_one_piece=self.uses_external_storage
        )

    @workflow.query(name=GET_VALUES)
    @sdk_internals.takes_any_arguments
    def get_values(self, *arguments: Any) -> RawValue:
        """Return the values at a checkpoint, for an activity that does not have them in its cache."""
        return query_answers.values(self._state.restored_thread, arguments, in_one_piece=self.uses_external_storage)

    @workflow.query(name=GET_WRITES)
    @sdk_internals.takes_any_arguments
    def get_writes(self, *arguments: Any) -> RawValue:
        """Return what the head's finished tasks wrote, for an activity that applies these writes."""
        return query_answers.writes(self._state.restored_thread, arguments, in_one_piece=self.uses_external_storage)

    @workflow.query(name=GET_SPEC)
    @sdk_internals.takes_any_arguments
    def get_spec(self, *arguments: Any) -> RawValue:
        """Return the spec that the run has recorded, for an activity whose code has another one."""
        return query_answers.spec(self._state.restored_thread, arguments, in_one_piece=self.uses_external_storage)

    @workflow.query(name=CHECK)
    @sdk_internals.takes_any_arguments
    def check(self, *arguments: Any) -> RawValue:
        """Return the error with which the thread's next run would refuse a command, as far as this one can see."""
        spec = self.specs.get(workflow.info().workflow_type)
        return query_answers.check(self._state.restored_thread, spec, arguments)

    # What handlers share

    def _checked(self, kind: CommandKind, arguments: Sequence[Any]) -> ThreadCommand:
        """Return the command in the arguments; `StepgraphError` if it can be seen to be wrong."""
        command = parse_command(kind, arguments)
        if self._state.restored_thread is not None:
            check_command(self._state.restored_thread, kind, command)
        return command

    def _validate(self, kind: CommandKind, arguments: Sequence[Any]) -> None:
        self._refuse_if_not_ready()
        if self._state.answer_to(_update_id()) is not None:
            return
        with refusing():
            self._checked(kind, arguments)

    def _refuse_if_not_ready(self) -> None:
        """Refuse an update that the phase does not accept, or a local activity forbids; its client sends it again."""
        if not self._state.phase.accepts_updates or self._state.commands.is_applying:
            raise not_ready("The run cannot accept an update now. Send it again.")

    async def _apply(self, kind: CommandKind, arguments: Sequence[Any]) -> RawValue:
        """Queue a command, and return the checkpoint that it makes. One that is sent again gets the same answer."""
        id = _update_id()
        if (answer := self._state.answer_to(id)) is not None:
            return to_raw(answer)
        with refusing():
            command = parse_command(kind, arguments)  # as the validator has
            pending = self._state.commands.add(kind, command, id=id)
        await workflow.wait_condition(lambda: pending.done)
        if pending.error is not None:
            raise not_ready(pending.error.message) if pending.came_too_late else update_failure(pending.error)
        configurable = pending.config["configurable"] if pending.config is not None else None
        return to_raw(CommandAnswer(run_id=workflow.info().run_id, configurable=configurable))

    def _queue_command(self, kind: CommandKind, arguments: Sequence[Any]) -> None:
        with self._showing_errors():
            command = parse_command(kind, arguments)
            self._state.commands.add(kind, command, on_error=self._state.show_signal_error)

    @contextmanager
    def _showing_errors(self) -> Iterator[None]:
        """Show an error in the state, for a signal has no caller; a workflow task that raises it fails for ever."""
        try:
            yield
        except StepgraphError as error:
            self._state.show_signal_error(error)
        except Exception as fault:
            self._state.show_signal_error(fault_of(fault))


def _update_id() -> str:
    """Return the id of the update that is being handled, which its caller chose."""
    update = workflow.current_update_info()
    assert update is not None, "an update is being handled"
    return update.id


def workflow_for(specs: Mapping[str, GraphSpec]) -> type:
    """Return the workflow class of a worker that serves these graphs, each under its own name as the workflow type.

    It runs outside the SDK's sandbox: nothing here reads a clock, a random number or the outside world, and no code of
    a graph is called.
    """
    return sdk_internals.dynamic_workflow(GraphWorkflow, {"specs": dict(specs)}, module=__name__)
