"""What the world may ask of an open run: queries, updates, and signals of the same names.

An order, by update or by signal, is queued here and carried out by the run at its next boundary. An update's validator
refuses what can be seen to be wrong before it enters the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from stepgraph.code import GraphCode
from stepgraph.codec import first_line
from stepgraph.engine.record import record_of
from stepgraph.engine.thread import Thread
from stepgraph.errors import InvalidUpdateError, StepgraphError, ThreadBusyError, UnknownGraphError
from stepgraph.logs import get_logger
from stepgraph.payloads import to_raw
from stepgraph.wire import (
    FORK,
    GET_HISTORY,
    GET_RECORD,
    GET_STATE,
    GET_VALUES,
    INVOKE,
    RESUME,
    SETTLED,
    STOP,
    UPDATE_STATE,
    InvokeOrder,
    Opening,
    Order,
    ResumeOrder,
    Settled,
)
from stepgraph_workflows import answers
from stepgraph_workflows.orders import AnyOrder, Kind, Orders, check_order

Graphs = Mapping[str, GraphCode]

MAX_ERRORS = 20
"""How many refused signals the state tells of."""

NOTHING_ASKED = to_raw(None)
"""The argument of a query made without one."""

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


class Handlers:
    """An open run, as seen from outside."""

    graphs: Graphs

    def __init__(self) -> None:
        self._opening: Opening | None = None
        self._thread: Thread | None = None
        self._orders = Orders()
        self._running = True
        """Whether what is due is to be run: somebody asked for it, and it does not wait for people."""
        self._settled = False
        """Whether the thread stands still: callers may be told."""
        self._stopping = False
        """Whether somebody asked for the run to end where it is."""
        self._ending = False
        """Whether this run is about to end, and its callers must be let go."""
        self._errors: list[str] = []
        self._status: str | None = None
        """What the search attribute says."""
        self._config: dict[str, Any] = {}
        self._log = get_logger("workflow")

    @property
    def _code(self) -> GraphCode:
        """The worker's code of the graph. A worker that lost it since the run was opened says so."""
        name = workflow.info().workflow_type
        if name not in self.graphs:
            raise UnknownGraphError(f"This worker has no graph {name!r} any more.", graph=name)
        return self.graphs[name]

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

    @workflow.update(name=STOP)
    async def stop(self) -> None:
        """Stops the nodes that run, keeps what has finished, and ends the run; the thread can be resumed."""
        self._stopping = True

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


def refusal(error: StepgraphError) -> ApplicationError:
    """An error as an update's caller is told of it."""
    return ApplicationError(error.message, to_raw(error.to_wire()), type=type(error).__name__, non_retryable=True)
