"""The workflow: one run of a thread, from the record of the run before it to the record it leaves.

Theory of operation. A run's first act is one local activity, `open_thread`. Its recorded answer (the graph's spec, the
settings, the record of the thread's previous run) is all that this run ever works from, so a later deployment of other
code cannot change what a replay decides. Then the engine's `Thread` says what is due, the workflow has it done by
activities, and the engine commits. Every way out leaves the thread's record:

* the graph is done: the record is the result;
* something failed: the record rides in the failure's details, beside the error;
* the run grew long: the record is an argument of the next one (continue-as-new).

Nothing here raises anything but a `FailureError`, so no workflow task fails for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

from stepgraph.code import GraphCode
from stepgraph.codec import first_line
from stepgraph.engine.failures import node_error
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import (
    EmptyInputError,
    GraphMismatchError,
    InvalidInputError,
    StepgraphError,
    UnknownGraphError,
    near_miss,
)
from stepgraph.logs import get_logger
from stepgraph.payloads import failure, from_raw, to_raw
from stepgraph.wire import (
    GET_HISTORY,
    GET_RECORD,
    GET_STATE,
    GET_VALUES,
    OPEN_THREAD,
    Opening,
    OpenRequest,
    StartOptions,
)
from stepgraph_workflows import answers
from stepgraph_workflows.dispatch import perform

Graphs = Mapping[str, GraphCode]

NOTHING_ASKED = to_raw(None)
"""The argument of a query made without one."""

OPENING_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10), maximum_attempts=20
)


class GraphRun:
    """One run; the workflow classes made by `workflow_for` add the graphs that their worker has."""

    graphs: Graphs

    def __init__(self) -> None:
        self._opening: Opening | None = None
        self._thread: Thread | None = None
        self._log = get_logger("workflow")

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        """The whole run. Its result is the thread's record."""
        try:
            try:
                given, options = _arguments(args)
            except InvalidInputError:
                await self._open(StartOptions())  # the run fails, but hands on what the thread has
                raise
            await self._open(options)
            return await self._run(given, options)
        except StepgraphError as error:
            self._fail(error)
        except Exception as error:  # a fault of ours must not fail the workflow task for ever
            self._fail(StepgraphError(f"A fault in stepgraph ended the run: {type(error).__name__}: {error}"))

    async def _open(self, options: StartOptions) -> None:
        info = workflow.info()
        self._log = self._log.bind(graph=info.workflow_type, thread=info.workflow_id, run=info.run_id)
        request = OpenRequest(
            graph=info.workflow_type,
            thread_id=info.workflow_id,
            run_id=info.run_id,
            after=options.after,
            by_client=options.caller is not None,
            has_record=options.record is not None,
        )
        try:
            answer = await workflow.execute_local_activity(
                OPEN_THREAD,
                to_raw(request),
                result_type=RawValue,
                start_to_close_timeout=timedelta(seconds=30),
                retry_policy=OPENING_RETRIES,
                summary="open the thread",
            )
        except ActivityError as error:
            raise StepgraphError(
                f"Thread {info.workflow_id!r} could not be taken up from its previous run, {options.after}: "
                f"{error.cause}. Nothing was run; try again.",
                thread_id=info.workflow_id,
            ) from error
        self._opening = Opening.model_validate(from_raw(answer))
        if options.record is not None:
            self._opening = self._opening.model_copy(update={"record": options.record})

    async def _run(self, given: Any, options: StartOptions) -> RawValue:
        thread = self._thread = self._take_up()
        if given is not None:
            thread.accept(self._code.schema.check_input(thread.spec.name, given))
        elif thread.head is None:
            raise EmptyInputError(
                f"Thread {thread.thread_id!r} has nothing to resume. Start it with an input.",
                thread_id=thread.thread_id,
            )
        steps_left = options.recursion_limit if options.steps_left is None else options.steps_left
        thread.allow(steps_left, limit=options.recursion_limit)
        await self._advance(thread, options)
        self._say("graph is done")
        return to_raw(record_of(thread))

    def _take_up(self) -> Thread:
        """The thread as its previous run left it."""
        info = workflow.info()
        opening = self._opening
        assert opening is not None
        if opening.spec is None:
            raise UnknownGraphError(
                f"This worker has no graph {info.workflow_type!r}.{near_miss(info.workflow_type, opening.known)} "
                "Start a worker with its code on a task queue of its own, or mend the name.",
                graph=info.workflow_type,
                known=list(opening.known),
            )
        if opening.record is not None and opening.record.graph != opening.spec.name:
            raise GraphMismatchError(
                f"Thread {info.workflow_id!r} belongs to graph {opening.record.graph!r}, not to {opening.spec.name!r}. "
                "Use another thread id.",
                thread_id=info.workflow_id,
                graph=opening.spec.name,
                thread_graph=opening.record.graph,
            )
        return thread_from(
            opening.record,
            opening.spec,
            self._code.schema.channels,
            thread_id=info.workflow_id,
            run_id=info.run_id,
            clock=lambda: workflow.now().isoformat(),
        )

    @property
    def _code(self) -> GraphCode:
        """The worker's code of the graph. A worker that lost it since the run was opened says so."""
        name = workflow.info().workflow_type
        if name not in self.graphs:
            raise UnknownGraphError(f"This worker has no graph {name!r} any more.", graph=name)
        return self.graphs[name]

    async def _advance(self, thread: Thread, options: StartOptions) -> None:
        """Super-step after super-step, to the end."""
        assert self._opening is not None
        settings = self._opening.settings
        while tasks := thread.due():
            step = tasks[0].step
            group = workflow.create_event_group(f"step-{step}", label=f"step {step}")
            await asyncio.gather(*(perform(thread, task, settings, options.config, group) for task in tasks))
            if thread.failures:
                raise node_error(thread)
            checkpoint = thread.commit()
            self._say(
                "super-step done",
                step=checkpoint.step,
                checkpoint_id=checkpoint.id,
                next=list(checkpoint.triggers),
            )
            if not thread.finished and (
                len(thread.made) >= settings.hand_over_steps or workflow.info().is_continue_as_new_suggested()
            ):
                self._hand_over(thread, options)

    def _hand_over(self, thread: Thread, options: StartOptions) -> NoReturn:
        """Goes on in a new run, for a history has its limits."""
        self._say("run hands over", step=thread.head.step if thread.head else None)
        after = options.model_copy(
            update={"after": thread.run_id, "record": record_of(thread), "steps_left": thread.steps_left}
        )
        workflow.continue_as_new(args=[to_raw(None), to_raw(after.to_json())])

    def _fail(self, error: StepgraphError) -> NoReturn:
        """Ends the run with an error, and with the record of what the thread has: nothing is lost."""
        record: Record | None = None
        if self._thread is not None:
            record = record_of(self._thread)
        elif self._opening is not None:
            record = self._opening.record
        self._say("run failed", checkpoint_id=record.checkpoint.id if record else None, error=error.message)
        told = error.to_wire()
        stack_trace = str(told["parts"].pop("traceback", ""))  # the node's own; the client puts it back
        raise failure(error.message, told, record, type=type(error).__name__, stack_trace=stack_trace) from None

    def _say(self, event: str, **bound: Any) -> None:
        if not workflow.unsafe.is_replaying():
            self._log.info(event, **bound)

    @workflow.query(name=GET_STATE)
    def get_state(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """The head, or the checkpoint asked for, as a `StateSnapshot`."""
        return answers.state(self._thread, request)

    @workflow.query(name=GET_HISTORY)
    def get_state_history(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """This run's checkpoints, newest first, and which run holds the older ones."""
        previous = self._opening.record.run_id if self._opening and self._opening.record else None
        return answers.history(self._thread, request, previous)

    @workflow.query(name=GET_RECORD)
    def get_record(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """What the thread's next run would go on from, if this one ended now."""
        return answers.record(self._thread, self._opening, request)

    @workflow.query(name=GET_VALUES)
    def get_values(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """The values at a checkpoint, for an activity that does not have them at hand."""
        return answers.values(self._thread, request)


def workflow_for(graphs: Graphs) -> type:
    """The workflow class for a worker that serves these graphs, each under its own name as the workflow type.

    It runs outside the SDK's sandbox: the graphs' modules are the worker's own, loaded once, and nothing here reads a
    clock, a random number or the world.
    """

    async def run(self, args: Sequence[RawValue]) -> RawValue:  # type: ignore[no-untyped-def]  # the SDK counts annotations
        answer: RawValue = await self.execute(args)
        return answer

    # The SDK refuses local classes, for its sandbox imports a workflow by its qualified name; this one has no sandbox.
    run.__qualname__ = "ServedGraphRun.run"
    members = {"run": workflow.run(run), "graphs": dict(graphs), "__module__": __name__}
    return workflow.defn(dynamic=True, sandboxed=False)(type("ServedGraphRun", (GraphRun,), members))


def _arguments(args: Sequence[RawValue]) -> tuple[Any, StartOptions]:
    """The input and the options; both may be missing in a start made by hand."""
    try:
        given, options, *_ = [*(from_raw(arg) for arg in args), None, None]
        return given, StartOptions.model_validate(options or {})
    except (ValidationError, ValueError) as error:
        raise InvalidInputError(
            f"A run takes an input (a JSON object, or null to resume) and, optionally, options: {first_line(error)}."
        ) from error
