"""The loop of a run: open the thread, run super-steps and commands, leave the record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from stepgraph.drive.apply_command import accept_input, apply_command
from stepgraph.drive.check_values import check_config
from stepgraph.drive.commit_step import commit_step
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import node_error
from stepgraph.engine.record import RECORD_LIMIT
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidInputError, StepgraphError
from stepgraph.protocol.commands import CommandKind, ThreadCommand, config_after, runs_nodes
from stepgraph.protocol.start_options import ContinuedRun, StartOptions
from stepgraph.protocol.thread_errors import fault_of, nothing_to_resume
from stepgraph.serde.plain_json import json_size
from stepgraph.temporal import sdk_internals
from stepgraph_workflows.command_queue import parse_command
from stepgraph_workflows.continue_as_new import next_start_options, should_continue_as_new
from stepgraph_workflows.details_page import SHOWN_TASKS
from stepgraph_workflows.phases import Phase
from stepgraph_workflows.publisher import graph_attribute, origin_attributes
from stepgraph_workflows.restore import parse_arguments, restore_thread, without_values
from stepgraph_workflows.run_end import begin_next_run, end_after_fault, end_run, next_arguments
from stepgraph_workflows.run_state import RunState
from stepgraph_workflows.super_steps import SuperSteps
from stepgraph_workflows.thread_activities import open_thread


class StartCommandRefusedError(Exception):
    """The command that the run was started for is refused, for the reason in `error`."""

    def __init__(self, error: StepgraphError) -> None:
        super().__init__(error.message)
        self.error = error


class RunLoop:
    """Drives one run from its first act to its record."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._super_steps = SuperSteps(should_stop=lambda: state.phase.stops_nodes)
        self._begun_step: str | None = None
        """The checkpoint whose super-step has begun, and has tasks that have not run yet."""

    async def run(self, args: Sequence[RawValue]) -> RawValue:
        """Run from the first act to the last. The result is the thread's record, or a `CommandRefused`."""
        error: StepgraphError | None = None
        is_refusal = False
        try:
            caller = await self._start(args)
            self._state.has_begun = True
            await self._loop(caller)
        except asyncio.CancelledError:  # Temporal cancels the run
            await self._answer_callers()
            raise
        except StartCommandRefusedError as refusal:
            error, is_refusal = refusal.error, True
            await self._answer_callers()
        except StepgraphError as reason:
            error = reason
            await self._answer_callers()
        except Exception as fault:  # a fault of stepgraph must not fail the workflow task for ever
            error = fault_of(fault)
            await self._answer_callers()
        try:
            return end_run(self._state, error, is_refusal=is_refusal)
        except FailureError:
            raise
        except Exception as fault:  # of stepgraph: something of what the run leaves cannot be encoded
            end_after_fault(self._state, fault_of(fault))

    async def _start(self, args: Sequence[RawValue]) -> str | None:
        """Open the thread, restore it, and do what the run was started for; return which client started the run.

        ``options`` is local to this method, so that an open run does not keep the record in it in memory.
        """
        state = self._state
        state.publisher.bind_log(workflow.info())
        try:
            input_data, options = parse_arguments(args)
        except InvalidInputError:
            state.opening = await open_thread(StartOptions())  # the run fails, and still leaves the thread's record
            raise
        sdk_internals.release_arguments(args)
        continued = options.continued or ContinuedRun()
        state.inputs.restore(continued.input_queue)
        opening = state.opening = await open_thread(options)
        thread = state.restored_thread = restore_thread(opening)
        state.opening = opening.model_copy(update={"record": without_values(opening.record)})
        check_config(options.config)
        state.config = options.config
        state.signal_errors = list(continued.errors)
        thread.limit_steps(
            options.recursion_limit if continued.steps_left is None else continued.steps_left,
            limit=options.recursion_limit,
        )
        thread.set_breakpoints(options.interrupt_before, options.interrupt_after)
        thread.durability = options.durability
        if continued.within_step:
            self._begun_step = thread.head_id
        for command in continued.commands:
            state.commands.add(
                command.kind, parse_command(command.kind, [command.payload]), on_error=state.show_signal_error
            )
        runs = await self._apply_start_command(thread, options)
        if runs is None:
            runs = continued.runs_due_tasks
            await self._take_input(thread, input_data, options, continued)
        is_new = continued.record is None or continued.queued_input_id is not None
        if is_new and options.caller is not None:
            thread.remember_command(options.caller)
        state.phase = state.phase.after_opening(runs=runs)
        if continued.record is None:  # otherwise the run before has published them
            state.publish(more=[graph_attribute(thread.spec.name), *origin_attributes(thread)])
        elif continued.queued_input_id is not None:
            state.publish()
        return options.caller

    async def _apply_start_command(self, thread: Thread, options: StartOptions) -> bool | None:
        """Apply the command that the run was started for; return whether nodes run then, `None` without a command."""
        state = self._state
        commands: Sequence[tuple[CommandKind, ThreadCommand | None]] = (
            ("update", options.update),
            ("fork", options.fork),
            ("resume", options.resume),
        )
        for kind, command in commands:
            if command is not None:
                try:
                    await apply_command(thread, state.config, kind, command, io=state.io)
                except StepgraphError as error:
                    raise StartCommandRefusedError(error) from error
                return runs_nodes(kind)
        return None

    async def _take_input(
        self, thread: Thread, input_data: Any, options: StartOptions, continued: ContinuedRun
    ) -> None:
        """Accept the input; without one, go on from the head, past a breakpoint if a caller requested that."""
        state = self._state
        if input_data is not None:
            await accept_input(thread, state.config, input_data, types=options.types, io=state.io)
        elif thread.head is None:
            raise nothing_to_resume(thread.thread_id)
        elif continued.record is None or continued.queued_input_id is not None or continued.passes_breakpoint:
            thread.pass_breakpoint()

    async def _loop(self, caller: str | None) -> None:
        """Loop until nothing is left to do: apply commands; stop; continue as new; run due tasks; wait; finish."""
        state, thread, settings = self._state, self._state.thread, self._state.settings
        while True:
            if not self._is_within_step():
                await self._apply_commands()
            if state.phase.stops_nodes:
                state.phase = Phase.STOPPED
                if not await self._command_or_all_answered():
                    return
            elif not self._is_within_step() and should_continue_as_new(
                thread, settings, self._super_steps.length(thread)
            ):
                await self._continue_as_new(caller)
            elif state.phase is Phase.RUNNING and (tasks := thread.due()):
                await self._run_tasks(tasks, caller)
            elif state.phase is Phase.RUNNING and thread.complete:
                await self._commit()
            elif (thread.waiting_interrupts or thread.paused) and not state.inputs:
                await self._wait_for_command()
            else:
                if state.phase is Phase.RUNNING:
                    state.phase = Phase.FINISHED
                if not await self._command_or_all_answered():
                    return

    def _is_within_step(self) -> bool:
        """Whether a super-step has begun, and has tasks that have not run yet. Commands wait for its end."""
        state, thread = self._state, self._state.thread
        if self._begun_step is None or self._begun_step != thread.head_id or state.phase.stops_nodes:
            return False
        return any(task.id not in thread.failures for task in thread.due())

    async def _run_tasks(self, tasks: tuple[Task, ...], caller: str | None) -> None:
        """Run the tasks that are due, and commit; raise the `NodeError` if one failed and no command repaired that."""
        state, thread = self._state, self._state.thread
        if self._begun_step == thread.head_id:  # those that failed in it do not run again
            tasks = tuple(task for task in tasks if task.id not in thread.failures)
        ran = await self._super_steps.run(thread, tasks, state.settings, state.config)
        if ran.fused_steps is not None:
            state.show_details()
            state.publisher.log("super-steps done", ran=ran.fused_steps, checkpoint_id=thread.head_id)
        if ran.postpones_tasks:
            self._begun_step = thread.head_id
            await self._postpone_tasks(caller)
            return
        self._begun_step = None
        if thread.failures:
            await self._apply_commands()
            if thread.failures:
                raise node_error(thread)
        elif thread.complete:  # before the commands that have arrived meanwhile
            await self._commit()

    async def _commit(self) -> None:
        state, head = self._state, self._state.thread.head
        checkpoint = await commit_step(state.thread, state.config, state.io)
        state.show_details()
        if head is not None and head.takes_input:  # no node has run
            return
        state.publisher.log(
            "super-step done",
            step=checkpoint.step,
            checkpoint_id=checkpoint.id,
            next=list(checkpoint.nodes[:SHOWN_TASKS]),
        )

    async def _apply_commands(self) -> None:
        """Apply the queued commands, and enter the phase that each of them leads to."""
        state, thread = self._state, self._state.thread
        while state.commands:
            pending = await state.commands.apply_next(thread, state.config, state.io)
            if pending.error is not None:
                continue
            state.config = config_after(pending.command, state.config)
            state.phase = state.phase.after_command(runs=pending.runs)
            state.publish()
            state.publisher.log(f"{pending.kind} made", checkpoint_id=thread.head_id)

    async def _wait_for_command(self) -> None:
        """Hold until a command comes, or until an interrupt's deadline has passed and its default is the answer."""
        state, thread = self._state, self._state.thread
        state.phase = Phase.HOLDING
        state.publish()
        dated = [request for request in thread.waiting_interrupts if request.deadline is not None]
        first = min(dated, key=lambda request: str(request.deadline), default=None)
        if first is None or first.deadline is None:
            await workflow.wait_condition(lambda: bool(state.commands))
            return
        left = datetime.fromisoformat(first.deadline) - workflow.now()
        try:
            await workflow.wait_condition(
                lambda: bool(state.commands), timeout=max(left, timedelta()), timeout_summary="answer by default"
            )
        except TimeoutError:
            thread.answer({first.id: first.default})
            state.phase = Phase.RUNNING
            state.publish()
            state.publisher.log("answered by default", interrupt=first.id)

    async def _continue_as_new(self, caller: str | None) -> None:
        """Continue as new once every caller has its answer; return if a command arrives meanwhile: it goes first."""
        state, before = self._state, self._state.phase
        state.phase = Phase.CONTINUING
        await self._command_or_all_answered()
        if state.phase is Phase.CONTINUING:  # a signal may have requested that running nodes are cancelled
            state.phase = before
        if state.commands or state.phase.stops_nodes:
            return
        begin_next_run(state, next_arguments(state, None, self._next_start_options(caller)))

    async def _postpone_tasks(self, caller: str | None) -> None:
        """Continue as new in the middle of a super-step; return if its outcomes do not fit into the next run."""
        state = self._state
        state.phase = Phase.CONTINUING
        state.commands.return_to_callers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        if state.phase is Phase.CONTINUING:  # a signal may have requested that running nodes are cancelled
            state.phase = Phase.RUNNING
        if state.phase.stops_nodes:
            return
        options = self._next_start_options(caller)
        record = options.continued.record if options.continued is not None else None
        fits = state.thread.uses_external_storage or json_size(options) <= RECORD_LIMIT
        if fits and (record is None or record.has_all_outcomes):
            begin_next_run(state, next_arguments(state, None, options))
        self._super_steps.stay()

    def _next_start_options(self, caller: str | None) -> StartOptions:
        state = self._state
        return next_start_options(
            state.thread,
            caller=caller,
            config=state.config,
            runs_due_tasks=state.phase is not Phase.HOLDING,
            errors=state.signal_errors,
            input_queue=state.inputs.inputs,
            commands=state.commands.by_signal,
            within_step=self._begun_step is not None and self._begun_step == state.thread.head_id,
        )

    async def _command_or_all_answered(self) -> bool:
        """Wait for a command, or until no caller waits for an answer any more; return whether a command came."""
        state = self._state
        await workflow.wait_condition(lambda: bool(state.commands) or workflow.all_handlers_finished())
        return bool(state.commands)

    async def _answer_callers(self) -> None:
        """Refuse the commands that wait, before the run ends: an update without an answer is lost to its caller."""
        state = self._state
        state.phase = Phase.ENDING
        while state.commands or not workflow.all_handlers_finished():
            state.commands.end_all()
            await self._command_or_all_answered()
