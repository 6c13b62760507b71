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
from datetime import datetime, timedelta
from typing import Any, NoReturn

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from stepgraph.code import GraphCode
from stepgraph.codec import first_line
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import node_error
from stepgraph.engine.record import Record, record_of, thread_from
from stepgraph.engine.thread import Thread
from stepgraph.errors import (
    EmptyInputError,
    GraphMismatchError,
    InvalidInputError,
    InvalidUpdateError,
    StepgraphError,
    ThreadBusyError,
    UnknownGraphError,
    near_miss,
)
from stepgraph.logs import get_logger
from stepgraph.payloads import failure, from_raw, to_raw
from stepgraph.wire import (
    FORK,
    GET_HISTORY,
    GET_RECORD,
    GET_STATE,
    GET_VALUES,
    INVOKE,
    OPEN_THREAD,
    RESUME,
    SETTLED,
    UPDATE_STATE,
    InvokeOrder,
    Opening,
    OpenRequest,
    Order,
    ResumeOrder,
    Settled,
    StartOptions,
)
from stepgraph_workflows import answers
from stepgraph_workflows.dispatch import perform
from stepgraph_workflows.orders import AnyOrder, Kind, Orders, apply, check_order

Graphs = Mapping[str, GraphCode]

MAX_ERRORS = 20
"""How many refused signals the state tells of."""

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
        self._orders = Orders()
        self._running = True
        self._settled = False
        self._ending = False
        self._errors: list[str] = []
        self._config: dict[str, Any] = {}
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
            await self._let_go_of_callers()
            self._fail(error)
        except Exception as error:  # a fault of ours must not fail the workflow task for ever
            self._fail(StepgraphError(f"A fault in stepgraph ended the run: {type(error).__name__}: {error}"))

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

    async def _run(self, given: Any, options: StartOptions) -> RawValue:
        thread = self._thread = self._take_up()
        steps_left = options.recursion_limit if options.steps_left is None else options.steps_left
        thread.allow(steps_left, limit=options.recursion_limit)
        self._config = options.config
        await self._begin(thread, given, options)
        await self._go_on(thread, options)
        self._say("graph is done" if thread.finished else "run ends where it was told to")
        return to_raw(record_of(thread))

    async def _begin(self, thread: Thread, given: Any, options: StartOptions) -> None:
        """Does what the run was started for; what its caller asked for is run, and nothing else."""
        thread.break_at(options.interrupt_before, options.interrupt_after)
        ordered: list[tuple[Kind, AnyOrder | None]] = [
            ("update", options.update),
            ("fork", options.fork),
            ("resume", options.resume),
        ]
        for kind, order in ordered:
            if order is not None:
                await apply(thread, self._code, self._config, kind, order)
                self._running = kind != "update"
                return
        if given is not None:
            thread.accept(self._code.schema.check_input(thread.spec.name, given))
        elif thread.head is None:
            raise EmptyInputError(
                f"Thread {thread.thread_id!r} has nothing to resume. Start it with an input.",
                thread_id=thread.thread_id,
            )
        elif options.record is None:
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

    async def _go_on(self, thread: Thread, options: StartOptions) -> None:
        """Super-step after super-step, with the orders that arrived in between, until nothing is left to do."""
        while True:
            await self._carry_out_orders(thread)
            if self._running and (tasks := thread.due()):
                await self._super_step(thread, tasks, options)
            elif self._running and thread.complete:
                self._commit(thread)
            elif thread.questions or thread.paused:
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
            self._say("answered by default", interrupt=first.id)

    async def _super_step(self, thread: Thread, tasks: tuple[Task, ...], options: StartOptions) -> None:
        assert self._opening is not None
        settings = self._opening.settings
        step = tasks[0].step
        group = workflow.create_event_group(f"step-{step}", label=f"step {step}")
        await asyncio.gather(*(perform(thread, task, settings, self._config, group) for task in tasks))
        if thread.failures:
            await self._carry_out_orders(thread)  # one of them may mend it, or go on from elsewhere
            if thread.failures:
                raise node_error(thread)
            return
        if not thread.complete:
            return  # something is asked first
        self._commit(thread)
        if not thread.finished and (
            len(thread.made) >= settings.hand_over_steps or workflow.info().is_continue_as_new_suggested()
        ):
            await self._carry_out_orders(thread)
            self._ending = True
            await self._orders_or_silence()
            self._ending = False
            if not self._orders.waiting:
                self._hand_over(thread, options)

    def _commit(self, thread: Thread) -> None:
        checkpoint = thread.commit()
        self._say("super-step done", step=checkpoint.step, checkpoint_id=checkpoint.id, next=list(checkpoint.triggers))

    async def _carry_out_orders(self, thread: Thread) -> None:
        for done in await self._orders.carry_out(thread, self._code, self._config):
            if isinstance(done.order, InvokeOrder) and done.error is None:
                self._config = done.order.config
            if done.error is None:
                self._running = self._running or done.kind != "update"
                self._settled = self._settled and not self._running
                self._say(f"{done.kind} made", checkpoint_id=thread.head.id if thread.head else None)

    def _hand_over(self, thread: Thread, options: StartOptions) -> NoReturn:
        """Goes on in a new run, for a history has its limits."""
        self._say("run hands over", step=thread.head.step if thread.head else None)
        after = options.model_copy(
            update={
                "after": thread.run_id,
                "record": record_of(thread),
                "steps_left": thread.steps_left,
                "config": self._config,
                "update": None,
                "fork": None,
                "resume": None,
            }
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

    @workflow.update(name=UPDATE_STATE)
    async def update_state(self, order: dict[str, Any] | None = None) -> RawValue:
        """Writes values by hand, at the next boundary; answers with the new checkpoint's config."""
        return await self._ordered("update", order)

    @workflow.update(name=FORK)
    async def fork(self, order: dict[str, Any] | None = None) -> RawValue:
        """Goes on from a checkpoint, at the next boundary; answers with the new checkpoint's config."""
        return await self._ordered("fork", order)

    @update_state.validator
    def _check_update(self, order: dict[str, Any] | None = None) -> None:
        self._check("update", order)

    @fork.validator
    def _check_fork(self, order: dict[str, Any] | None = None) -> None:
        self._check("fork", order)

    @workflow.update(name=RESUME)
    async def resume(self, order: dict[str, Any] | None = None) -> RawValue:
        """Answers interrupts; the thread runs on."""
        return await self._ordered("resume", order)

    @workflow.update(name=INVOKE)
    async def invoke(self, order: dict[str, Any] | None = None) -> RawValue:
        """Gives a waiting thread an input, or has it go on from a breakpoint."""
        return await self._ordered("invoke", order)

    @resume.validator
    def _check_resume(self, order: dict[str, Any] | None = None) -> None:
        self._check("resume", order)

    @invoke.validator
    def _check_invoke(self, order: dict[str, Any] | None = None) -> None:
        self._check("invoke", order)
        if not self._settled:
            raise refusal(
                ThreadBusyError(
                    f"Thread {workflow.info().workflow_id!r} is running, and a thread has one writer. "
                    "Wait for it to end, or use another thread id.",
                    thread_id=workflow.info().workflow_id,
                    run_id=workflow.info().run_id,
                )
            )

    @workflow.update(name=SETTLED)
    async def settled(self) -> RawValue:
        """Answers once the thread stands still: it waits for people, or its run is about to end or to hand over."""
        await workflow.wait_condition(lambda: self._settled or self._ending)
        thread = self._thread
        waits = thread is not None and not self._ending and bool(thread.questions or thread.paused)
        return to_raw(Settled(waiting=record_of(thread) if waits and thread is not None else None))

    @workflow.signal(name=RESUME)
    def resume_signal(self, order: dict[str, Any] | None = None) -> None:
        """The update of the same name, for whoever can only send signals."""
        self._signalled("resume", order)

    @workflow.signal(name=UPDATE_STATE)
    def update_state_signal(self, order: dict[str, Any] | None = None) -> None:
        """The update of the same name, for whoever can only send signals."""
        self._signalled("update", order)

    @workflow.signal(name=FORK)
    def fork_signal(self, order: dict[str, Any] | None = None) -> None:
        """The update of the same name, for whoever can only send signals."""
        self._signalled("fork", order)

    def _check(self, kind: Kind, order: dict[str, Any] | None) -> None:
        """Refuses what can be seen to be wrong before it enters the history."""
        try:
            asked = _order(kind, order)
            if self._thread is not None:
                check_order(self._thread, self._code, kind, asked)
        except StepgraphError as error:
            raise refusal(error) from None

    async def _ordered(self, kind: Kind, order: dict[str, Any] | None) -> RawValue:
        try:
            pending = self._orders.add(kind, _order(kind, order))
        except StepgraphError as error:
            raise refusal(error) from None
        await workflow.wait_condition(lambda: pending.done)
        if pending.error is not None:
            raise refusal(pending.error)
        return to_raw(pending.config)

    def _signalled(self, kind: Kind, order: dict[str, Any] | None) -> None:
        try:
            self._orders.add(kind, _order(kind, order), heard=self._hear)
        except StepgraphError as error:
            self._hear(error)

    def _hear(self, error: StepgraphError) -> None:
        """A signal that cannot be honoured fails nothing: it is logged, and shown in the state."""
        self._errors = [*self._errors[-MAX_ERRORS + 1 :], error.message]
        self._say("signal refused", error=error.message)

    @workflow.query(name=GET_STATE)
    def get_state(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """The head, or the checkpoint asked for, as a `StateSnapshot`."""
        return answers.state(self._thread, request, self._errors)

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


_ORDERS: dict[Kind, tuple[type[AnyOrder], str]] = {
    "update": (Order, '{"values": {...}, "as_node": "...", "checkpoint_id": "..."}'),
    "fork": (Order, '{"values": {...}, "as_node": "...", "checkpoint_id": "..."}'),
    "resume": (ResumeOrder, '{"resume": "the answer"} or {"resume": {"<interrupt id>": "the answer"}}'),
    "invoke": (InvokeOrder, '{"input": {...}}'),
}


def _order(kind: Kind, order: dict[str, Any] | None) -> AnyOrder:
    model, shape = _ORDERS[kind]
    try:
        return model.model_validate(order or {})
    except ValidationError as error:
        raise InvalidUpdateError(f"{kind!r} takes {shape}: {first_line(error)}.") from error


def refusal(error: StepgraphError) -> ApplicationError:
    """An error as an update's caller is told of it."""
    return ApplicationError(error.message, to_raw(error.to_wire()), type=type(error).__name__, non_retryable=True)


def _arguments(args: Sequence[RawValue]) -> tuple[Any, StartOptions]:
    """The input and the options; both may be missing in a start made by hand."""
    try:
        given, options, *_ = [*(from_raw(arg) for arg in args), None, None]
        return given, StartOptions.model_validate(options or {})
    except (ValidationError, ValueError) as error:
        raise InvalidInputError(
            f"A run takes an input (a JSON object, or null to resume) and, optionally, options: {first_line(error)}."
        ) from error
