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

from temporalio import workflow
from temporalio.common import RawValue

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import node_error
from stepgraph.engine.recent_history import with_past
from stepgraph.engine.record import Record, record_of
from stepgraph.engine.thread import Thread
from stepgraph.errors import EmptyInputError, InvalidInputError, StepgraphError, ThreadBusyError
from stepgraph.protocol.wire import WORKFLOW_TASK_SECONDS, InvokeOrder, Refusal, StartOptions
from stepgraph.temporal.payloads import failure, to_raw
from stepgraph.temporal.search_attributes import GRAPH
from stepgraph_workflows.command_queue import AnyOrder, Kind, apply
from stepgraph_workflows.continue_as_new import is_long, options_after
from stepgraph_workflows.handlers import Graphs, Handlers
from stepgraph_workflows.restore import arguments, open_run, take_up, without_values
from stepgraph_workflows.super_steps import Stepper


class GraphRun(Handlers):
    """One run; the workflow classes made by `workflow_for` add the graphs that their worker has."""

    def __init__(self) -> None:
        super().__init__()
        self._given: Any = None
        """The input, until it is taken."""
        self._steps = Stepper(lambda: self._stopping)

    async def execute(self, args: Sequence[RawValue]) -> RawValue:
        """The whole run. Its result is the thread's record."""
        error: StepgraphError | None = None
        try:
            try:
                self._given, options = arguments(args)
            except InvalidInputError:
                await self._open(StartOptions())  # the run fails, but hands on what the thread has
                raise
            if isinstance(args, list):
                args.clear()  # the SDK holds the list as long as the run is open, and its payloads several times over
            self._queue.take_over(options.queue)
            await self._open(options)
            options = options.model_copy(update={"record": without_values(options.record)})
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
        self._opening = await open_run(options)

    async def _run(self, options: StartOptions) -> None:
        assert self._opening is not None
        thread = self._thread = take_up(self._opening, lambda: self._code)
        self._opening = self._opening.model_copy(update={"record": without_values(self._opening.record)})
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
                await self._hand_over(thread, options)
                continue
            if self._running and (tasks := thread.due()):
                await self._step(thread, tasks)
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

    async def _step(self, thread: Thread, tasks: tuple[Task, ...]) -> None:
        """Has the tasks run, and commits what came of them; or ends the run, if one failed."""
        assert self._opening is not None
        ran = await self._steps.run(thread, tasks, self._opening.settings, self._config)
        if ran:
            self._show()
            self._say("super-steps done", ran=ran, checkpoint_id=thread.head_id)
        if thread.failures:
            await self._carry_out_orders(thread)  # one of them may mend it, or go on from elsewhere
            if thread.failures:
                raise node_error(thread)
            return
        if thread.complete:
            self._commit(thread)

    def _is_long(self, thread: Thread) -> bool:
        assert self._opening is not None
        return is_long(thread, self._opening.settings, self._steps.length(thread))

    async def _hand_over(self, thread: Thread, options: StartOptions) -> None:
        """Goes on in a new run once every caller has an answer; an order that comes meanwhile goes first."""
        self._ending = True
        await self._orders_or_silence()
        self._ending = False
        if self._orders.waiting or self._stopping:
            return
        self._say("run hands over", step=thread.head.step if thread.head else None)
        after = options_after(options, thread).model_copy(
            update={
                "config": self._config,
                "running": self._running,
                "errors": tuple(error[:500] for error in self._errors),
                "queue": self._queue.waiting,
            }
        )
        seconds = timedelta(seconds=WORKFLOW_TASK_SECONDS) if thread.stored else None
        workflow.continue_as_new(
            args=[to_raw(None), to_raw(after.to_json(), repeats=self._stores)], task_timeout=seconds
        )

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
