"""The workflow: one run of a thread, from the record of the run before it to the record it leaves.

Theory of operation. A run's first act is one local activity, `open_thread`. Its recorded answer (the graph's spec, the
settings, the record of the thread's previous run) is all that this run ever works from, so a later deployment of other
code cannot change what a replay decides. Then the engine's `Thread` says what is due, the workflow has it done by
activities, and the engine commits. Every way out leaves the thread's record:

* the graph is done: the record is the result;
* something failed: the record rides in the failure's details, beside the error;
* what the run was started for is refused: the record is as it was, and the result says so;
* the run grew long: the record is an argument of the next one (continue-as-new);
* inputs wait in line: likewise, with the first of them, and with the error if something failed.

Nothing here raises anything but a `FailureError`, so no workflow task fails for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy, SearchAttributeUpdate
from temporalio.exceptions import FailureError

from stepgraph.codec import first_line
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import node_error
from stepgraph.engine.past import with_past
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import (
    EmptyInputError,
    GraphMismatchError,
    InvalidInputError,
    StepgraphError,
    ThreadBusyError,
    UnknownGraphError,
    near_miss,
)
from stepgraph.fusing import StepsAnswer
from stepgraph.payloads import failure, from_raw, to_raw
from stepgraph.search import FORKED_FROM, GRAPH, STATUS, WAITS_FOR
from stepgraph.wire import (
    OPEN_THREAD,
    WORKFLOW_TASK_SECONDS,
    InvokeOrder,
    Opening,
    OpenRequest,
    Refusal,
    Settings,
    StartOptions,
)
from stepgraph_workflows import details
from stepgraph_workflows.dispatch import CANCELLED, perform
from stepgraph_workflows.fused import COST, may_fuse, run_in_a_row, take_over, without_cancelled
from stepgraph_workflows.handlers import Graphs, Handlers
from stepgraph_workflows.orders import AnyOrder, Kind, apply

MANY_EVENTS = 10_000
LARGE_HISTORY = 20_000_000
"""Events and bytes at which a run hands over when the server suggests it, whatever that costs; servers end a run at
51,200 events or 50 MB."""

HISTORY_FOR_STATE = 8
"""How many times its state a run writes before it hands over because the server suggests it."""

OPENING_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10), maximum_attempts=20
)

STOP_PATIENCE = timedelta(seconds=60)
"""How long nodes that are told to stop may take; then the run goes on without them."""


class GraphRun(Handlers):
    """One run; the workflow classes made by `workflow_for` add the graphs that their worker has."""

    def __init__(self) -> None:
        super().__init__()
        self._given: Any = None
        """The input, until it is taken."""
        self._fused = 0
        """Super-steps of this run that were run in a row."""
        self._fusing = True
        """Whether the workers have the code that the run was started with."""
        self._alone: str | None = None
        """The checkpoint whose tasks are not to be run in a row with others."""

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        """The whole run. Its result is the thread's record."""
        error: StepgraphError | None = None
        try:
            try:
                self._given, options = _arguments(args)
            except InvalidInputError:
                await self._open(StartOptions())  # the run fails, but hands on what the thread has
                raise
            if isinstance(args, list):
                args.clear()  # the SDK holds the list as long as the run is open, and its payloads several times over
            self._queue.take_over(options.queue)
            await self._open(options)
            options = options.model_copy(update={"record": _without_values(options.record)})
            await self._run(options)
        except asyncio.CancelledError:  # by Temporal
            await self._let_go_of_callers()
            raise
        except StepgraphError as told:
            error = told
            await self._let_go_of_callers()
        except Exception as fault:  # one of ours must not fail the workflow task for ever
            error = StepgraphError(f"A fault in stepgraph ended the run: {type(fault).__name__}: {fault}")
        return self._end(error)

    async def _let_go_of_callers(self) -> None:
        """Answers whoever waits, before the run ends: an unanswered update would be lost to its caller."""
        self._ending = True
        while self._orders.waiting or not workflow.all_handlers_finished():
            while self._orders.waiting:
                self._orders.refuse(ThreadBusyError("The run ended before the turn of this came. Ask again."))
            await self._orders_or_silence()

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
        except FailureError as error:
            raise StepgraphError(
                f"Thread {info.workflow_id!r} could not be taken up from its previous run, {options.after}: "
                f"{error.cause or error}. Nothing was run; try again.",
                thread_id=info.workflow_id,
            ) from error
        self._opening = Opening.model_validate(from_raw(answer))
        if options.record is not None:
            self._opening = self._opening.model_copy(update={"record": options.record})

    async def _run(self, options: StartOptions) -> None:
        thread = self._thread = self._take_up()
        steps_left = options.recursion_limit if options.steps_left is None else options.steps_left
        thread.allow(steps_left, limit=options.recursion_limit)
        self._config = options.config
        self._running = options.running
        self._errors = list(options.errors)
        await self._begin(thread, options)
        self._asking = False
        if options.record is None:  # otherwise the run before has set them
            self._tell(search=[GRAPH.value_set(thread.spec.name), *self._origin(thread)])
        elif options.turn is not None:
            self._tell()
        await self._go_on(thread, options)

    async def _begin(self, thread: Thread, options: StartOptions) -> None:
        """Does what the run was started for; what its caller asked for is run, and nothing else."""
        given, self._given = self._given, None
        thread.break_at(options.interrupt_before, options.interrupt_after)
        ordered: list[tuple[Kind, AnyOrder | None]] = [
            ("update", options.update),
            ("fork", options.fork),
            ("resume", options.resume),
        ]
        for kind, order in ordered:
            if order is not None:
                self._refusing = True  # unless it succeeds
                await apply(thread, self._code, self._config, kind, order)
                self._refusing = False
                self._running = kind != "update"
                return
        if given is not None:
            thread.accept(self._code.schema.check_input(thread.spec.name, given))
        elif thread.head is None:
            raise EmptyInputError(
                f"Thread {thread.thread_id!r} has nothing to resume. Start it with an input.",
                thread_id=thread.thread_id,
            )
        elif options.record is None or options.turn is not None or options.passed:
            thread.pass_on()

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
        thread = thread_from(
            opening.record,
            opening.spec,
            self._code.schema.channels,
            thread_id=info.workflow_id,
            run_id=info.run_id,
            clock=lambda: workflow.now().isoformat(),
            stored=opening.settings.stored,
        )
        self._opening = opening.model_copy(update={"record": _without_values(opening.record)})
        return thread

    async def _go_on(self, thread: Thread, options: StartOptions) -> None:
        """Super-step after super-step, with the orders that arrived in between, until nothing is left to do."""
        while True:
            await self._carry_out_orders(thread)
            if self._stopping:
                self._settled = True
                await self._orders_or_silence()
                if not self._orders.waiting:
                    return
                continue
            if self._is_long(thread):
                await self._hand_over_in_silence(thread, options)
                continue
            if self._running and (tasks := thread.due()):
                if self._fusing and self._alone != thread.head_id and may_fuse(thread, tasks):
                    await self._super_steps(thread)
                else:
                    await self._super_step(thread, tasks)
                await self._conclude(thread)
            elif self._running and thread.complete:
                self._commit(thread)
            elif (thread.questions or thread.paused) and not self._queue:
                await self._wait_for_people(thread)
            elif not self._orders.waiting:
                self._settled = True
                await self._orders_or_silence()
                if not self._orders.waiting:
                    return

    async def _orders_or_silence(self) -> None:
        """Until an order comes, or nobody waits for an answer any more."""
        await workflow.wait_condition(lambda: bool(self._orders.waiting) or workflow.all_handlers_finished())

    async def _wait_for_people(self, thread: Thread) -> None:
        """Until an order comes, or a question's time is up and its default answers."""
        self._running, self._settled = False, True
        self._tell()
        dated = [ask for ask in thread.questions if ask.deadline is not None]
        first = min(dated, key=lambda ask: str(ask.deadline), default=None)
        if first is None or first.deadline is None:
            await workflow.wait_condition(lambda: bool(self._orders.waiting))
            return
        left = datetime.fromisoformat(first.deadline) - workflow.now()
        try:
            await workflow.wait_condition(
                lambda: bool(self._orders.waiting), timeout=max(left, timedelta()), timeout_summary="answer by default"
            )
        except TimeoutError:
            thread.answer({first.id: first.default})
            self._running = True
            self._tell()
            self._say("answered by default", interrupt=first.id)

    async def _super_steps(self, thread: Thread) -> None:
        """Several in a row, by one activity; their checkpoints are made when it tells of them."""
        assert self._opening is not None
        settings = self._opening.settings
        room = max(1, int((settings.hand_over_steps - self._length(thread)) / COST))
        work = asyncio.create_task(run_in_a_row(thread, settings, self._config, room))
        cancelled = await self._done_or_stopped([work])
        answer = await work if work.done() else StepsAnswer()
        if self._stopping:
            answer = without_cancelled(answer)
        take_over(thread, answer)
        self._fused += len(answer.steps)
        self._fusing = not answer.unknown
        self._alone = thread.head_id if answer.alone else None
        self._show()
        self._say("super-steps done", ran=answer.ran, checkpoint_id=thread.head_id)
        if cancelled:
            raise asyncio.CancelledError

    async def _super_step(self, thread: Thread, tasks: tuple[Task, ...]) -> None:
        """One, by an activity for each of its tasks."""
        assert self._opening is not None
        settings = self._opening.settings
        step = tasks[0].step
        group = [workflow.create_event_group(f"step-{step}", label=f"step {step}")] if len(tasks) > 1 else []
        work = [asyncio.create_task(self._perform(thread, task, settings, group)) for task in tasks]
        cancelled = await self._done_or_stopped(work)
        for each in work:
            if each.done() and not each.cancelled():
                each.result()
        if cancelled:
            raise asyncio.CancelledError

    async def _done_or_stopped(self, work: Sequence[asyncio.Task[Any]]) -> bool:
        """Until all is done, or has stopped because that was asked for; whether Temporal cancels the run."""
        cancelled = False
        try:
            await workflow.wait_condition(lambda: self._stopping or all(each.done() for each in work))
        except asyncio.CancelledError:
            cancelled = self._stopping = True
        if self._stopping:
            for each in work:
                each.cancel()
            await workflow.wait(work, timeout=STOP_PATIENCE.total_seconds())  # no node runs on beside what comes next
        return cancelled

    async def _conclude(self, thread: Thread) -> None:
        """What is to be done once tasks have run: their commit, or the end of a run that failed."""
        if thread.failures:
            await self._carry_out_orders(thread)  # one of them may mend it, or go on from elsewhere
            if thread.failures:
                raise node_error(thread)
            return
        if thread.complete:
            self._commit(thread)

    def _is_long(self, thread: Thread) -> bool:
        """Whether the run is to hand over: it takes long to replay, or the server suggests it.

        A hand-over writes the state anew, twice, so a suggestion waits until the history has several times that; not
        until it nears what the server takes.
        """
        assert self._opening is not None
        if thread.finished or not thread.made:
            return False
        settings = self._opening.settings
        if self._length(thread) >= settings.hand_over_steps:
            return True
        if settings.hand_over_bytes is not None and thread.bytes_made >= settings.hand_over_bytes:
            return True
        info = workflow.info()
        return info.is_continue_as_new_suggested() and (
            info.get_current_history_length() >= MANY_EVENTS
            or info.get_current_history_size() >= min(LARGE_HISTORY, HISTORY_FOR_STATE * thread.state_size)
        )

    async def _hand_over_in_silence(self, thread: Thread, options: StartOptions) -> None:
        """Hands over once every caller has an answer; an order that comes meanwhile goes first."""
        self._ending = True
        await self._orders_or_silence()
        self._ending = False
        if not self._orders.waiting and not self._stopping:
            self._hand_over(thread, options)

    def _length(self, thread: Thread) -> float:
        """How long the run is to replay, in super-steps of their own."""
        return len(thread.made) - self._fused * (1 - COST)

    async def _perform(
        self, thread: Thread, task: Task, settings: Settings, group: Sequence[workflow.EventGroup]
    ) -> None:
        await perform(thread, task, settings, self._config, group)
        failed = thread.failures.get(task.id)
        if self._stopping and failed is not None and failed.error_type == CANCELLED:
            thread.start(task)  # it did not fail: it is to be run again

    def _tell(self, search: Sequence[SearchAttributeUpdate[Any]] = ()) -> None:
        """Brings up to date what the Web UI and searches show of the thread."""
        thread = self._thread
        if thread is None or self._opening is None:
            return
        self._show()
        if not self._opening.settings.search_attributes:
            return
        status = details.status(thread, running=self._running)
        updates = list(search)
        if status != self._status:
            waits_for = details.waits_for(thread) if status == "waiting" else None
            updates.append(STATUS.value_set(status))
            if waits_for is not None or self._status == "waiting":
                updates.append(WAITS_FOR.value_set(waits_for) if waits_for is not None else WAITS_FOR.value_unset())
        self._status = status
        if updates:
            workflow.upsert_search_attributes(updates)

    def _origin(self, thread: Thread) -> list[SearchAttributeUpdate[Any]]:
        origin = thread.head.forked_from if thread.head else None
        return [FORKED_FROM.value_set(origin)] if origin is not None else []

    def _commit(self, thread: Thread) -> None:
        checkpoint = thread.commit()
        self._show()
        self._say("super-step done", step=checkpoint.step, checkpoint_id=checkpoint.id, next=list(checkpoint.triggers))

    async def _carry_out_orders(self, thread: Thread) -> None:
        self._asking = True
        carried_out = await self._orders.carry_out(thread, self._code, self._config)
        self._asking = False
        for done in carried_out:
            if isinstance(done.order, InvokeOrder) and done.error is None:
                self._config = done.order.config
            if done.error is None:
                self._running = self._running or done.kind != "update"
                self._settled = self._settled and not self._running
                self._tell()
                self._say(f"{done.kind} made", checkpoint_id=thread.head_id)

    def _hand_over(self, thread: Thread, options: StartOptions) -> NoReturn:
        """Goes on in a new run, for a history has its limits."""
        self._say("run hands over", step=thread.head.step if thread.head else None)
        after = options.model_copy(
            update={
                "after": thread.run_id,
                "record": with_past(record_of(thread), thread),
                "steps_left": thread.steps_left,
                "recursion_limit": thread.step_limit,
                "interrupt_before": thread.breaks[0],
                "interrupt_after": thread.breaks[1],
                "config": self._config,
                "running": self._running,
                "passed": thread.passes_on,
                "errors": tuple(error[:500] for error in self._errors),
                "update": None,
                "fork": None,
                "resume": None,
                "turn": None,
                "error": None,
                "queue": self._queue.waiting,
            }
        )
        seconds = timedelta(seconds=WORKFLOW_TASK_SECONDS) if thread.stored else None
        workflow.continue_as_new(
            args=[to_raw(None), to_raw(after.to_json(), repeats=self._stores)], task_timeout=seconds
        )

    def _end(self, error: StepgraphError | None) -> RawValue:
        """Leaves the thread's record, and the error if there is one: nothing is lost. The next in line begins."""
        thread, opening = self._thread, self._opening
        record = opening.record if opening is not None else None
        if thread is not None:
            record = with_past(record_of(thread), thread)
        if self._queue and opening is not None:
            self._say("next in line begins", error=error.message if error is not None else None)
            given, options = self._queue.next_run(workflow.info().run_id, record, error)
            workflow.continue_as_new(args=[to_raw(given), to_raw(options.to_json(), repeats=self._stores)])
        if error is not None and self._refusing:
            if record is not None:
                self._tell(search=[GRAPH.value_set(record.graph)])
            self._say("order refused", error=error.message)
            return to_raw(Refusal(refused=error.to_wire(), record=record), repeats=self._stores)
        if error is not None:
            self._fail(error, record)
        self._tell()
        self._say("graph is done" if thread is not None and thread.finished else "run ends where it was told to")
        return to_raw(record, repeats=self._stores)

    @property
    def _stores(self) -> bool:
        return self._opening is not None and self._opening.settings.stored

    def _fail(self, error: StepgraphError, record: Record | None) -> NoReturn:
        self._tell()
        self._say("run failed", checkpoint_id=record.checkpoint.id if record else None, error=error.message)
        told = error.to_wire()
        stack_trace = str(told["parts"].pop("traceback", ""))  # the node's own; the client puts it back
        raise failure(error.message, told, record, type=type(error).__name__, stack_trace=stack_trace) from None


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


def _without_values(record: Record | None) -> Record | None:
    """A record that was taken up: the thread has its values, and an open run holds as little as it can."""
    return None if record is None else record.model_copy(update={"values": {}, "pending_values": {}, "results": {}})


def _arguments(args: Sequence[RawValue]) -> tuple[Any, StartOptions]:
    """The input and the options; both may be missing in a start made by hand."""
    try:
        given, options, *_ = [*(from_raw(arg) for arg in args), None, None]
        return given, StartOptions.model_validate(options or {})
    except (ValidationError, ValueError) as error:
        raise InvalidInputError(
            f"A run takes an input (a JSON object, or null to resume) and, optionally, options: {first_line(error)}."
        ) from error
