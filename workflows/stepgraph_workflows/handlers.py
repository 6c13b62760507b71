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

from stepgraph.engine.record import record_of
from stepgraph.errors import InvalidUpdateError, StepgraphError, ThreadBusyError, UnknownGraphError
from stepgraph.execution.registry import GraphCode
from stepgraph.protocol.wire import (
    ASK_AGAIN,
    CHECK,
    FORK,
    GET_HISTORY,
    GET_RECORD,
    GET_STATE,
    GET_VALUES,
    INVOKE,
    RESUME,
    SETTLED,
    UPDATE_STATE,
    InvokeOrder,
    Order,
    ResumeOrder,
    Settled,
)
from stepgraph.serde.type_codec import first_line
from stepgraph.temporal.payloads import to_raw
from stepgraph_workflows import query_answers as answers
from stepgraph_workflows.command_queue import AnyOrder, Kind, Orders, check_order
from stepgraph_workflows.publishing import Telling

Graphs = Mapping[str, GraphCode]

SETTLED_BYTES = 4_096
"""A larger state is not in the answer to whoever waits for the thread to stand still."""

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


class Handlers(Telling):
    """An open run, as seen from outside."""

    graphs: Graphs
    stored: bool = False
    """Whether this worker has external storage: an answer need not come in pages."""

    def __init__(self) -> None:
        super().__init__()
        self._orders = Orders()
        self._settled = False
        """Whether the thread stands still: callers may be told."""
        self._stopping = False
        """Whether somebody asked for the run to end where it is."""
        self._ending = False
        """Whether this run is about to end, and its callers must be let go."""
        self._asking = True
        """Whether local activities may be under way."""
        self._refusing = False
        """Whether what the run was started for is refused, if it comes to an error."""
        self._config: dict[str, Any] = {}

    @property
    def _code(self) -> GraphCode:
        """The worker's code of the graph. A worker that lost it since the run was opened says so."""
        name = workflow.info().workflow_type
        if name not in self.graphs:
            raise UnknownGraphError(f"This worker has no graph {name!r} any more.", graph=name)
        return self.graphs[name]

    @property
    def _free(self) -> bool:
        """Whether an input may begin at once: the thread stands still, and nobody waits in line."""
        return self._settled and not self._queue

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
        self._validate("update", order)

    @fork.validator
    def _check_fork(self, order: dict[str, Any] | None = None) -> None:
        self._validate("fork", order)

    @workflow.update(name=RESUME)
    async def resume(self, order: dict[str, Any] | None = None) -> RawValue:
        """Answers interrupts; the thread runs on."""
        return await self._ordered("resume", order)

    @workflow.update(name=INVOKE)
    async def invoke(self, order: dict[str, Any] | None = None) -> RawValue:
        """Gives a waiting thread an input, or has it go on from a breakpoint; a running one queues it."""
        asked = InvokeOrder.model_validate(order or {})  # the validator has looked
        if self._free:
            return await self._ordered("invoke", order)
        ticket = workflow.current_update_info()
        assert ticket is not None
        self._line_up(ticket.id, asked)
        return to_raw({"ticket": ticket.id})

    @resume.validator
    def _check_resume(self, order: dict[str, Any] | None = None) -> None:
        self._validate("resume", order)

    @invoke.validator
    def _check_invoke(self, order: dict[str, Any] | None = None) -> None:
        self._validate("invoke", order)
        if self._free:
            return
        info, asked = workflow.info(), InvokeOrder.model_validate(order or {})
        try:
            if asked.on_busy == "refuse":
                raise ThreadBusyError(
                    f"Thread {info.workflow_id!r} is running, and a thread has one writer. "
                    "Wait for it to end, or use another thread id.",
                    thread_id=info.workflow_id,
                    run_id=info.run_id,
                )
            self._queue.check(info.workflow_id, asked)
        except ThreadBusyError as error:
            raise refusal(error) from None

    def _line_up(self, ticket: str, order: InvokeOrder) -> None:
        self._queue.add(ticket, order)
        self._stopping = self._stopping or order.on_busy == "cancel"
        self._show()

    @workflow.update(name=SETTLED)
    async def settled(self) -> RawValue:
        """Answers once the thread stands still: it waits for people, or its run is about to end or to hand over."""
        await workflow.wait_condition(lambda: self._settled or self._ending)
        thread = self._thread
        waits = thread is not None and not self._ending and bool(thread.questions or thread.paused)
        if thread is None or not waits:
            return to_raw(Settled())
        if thread.state_size > SETTLED_BYTES:  # an update's answer stays in the history, and in the worker's memory
            return to_raw(Settled(waits=True))
        return to_raw(Settled(waiting=record_of(thread)))

    @settled.validator
    def _check_settled(self) -> None:
        self._check_time()

    @workflow.signal(name=INVOKE)
    def invoke_signal(self, order: dict[str, Any] | None = None) -> None:
        """The update of the same name, for whoever can only send signals: while the thread runs, it waits in line."""
        try:
            self._check("invoke", order)
            asked = InvokeOrder.model_validate(order or {})
            self._queue.check(workflow.info().workflow_id, asked)
        except StepgraphError as error:
            self._hear(error)
            return
        if self._free:
            self._signalled("invoke", order)
        else:
            self._line_up(str(workflow.uuid4()), asked)

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
        """Refuses what can be seen to be wrong."""
        asked = _order(kind, order)
        if self._thread is not None:
            check_order(self._thread, self._code, kind, asked)

    def _validate(self, kind: Kind, order: dict[str, Any] | None) -> None:
        """Refuses an update before it enters the history."""
        self._check_time()
        try:
            self._check(kind, order)
        except StepgraphError as error:
            raise refusal(error) from None

    async def _ordered(self, kind: Kind, order: dict[str, Any] | None) -> RawValue:
        try:
            pending = self._orders.add(kind, _order(kind, order))
        except StepgraphError as error:
            raise refusal(error) from None
        self._settled = self._settled and kind == "update"  # what comes now finds the thread running
        await workflow.wait_condition(lambda: pending.done)
        if pending.error is not None:
            raise refusal(pending.error)
        return to_raw(pending.config)

    def _signalled(self, kind: Kind, order: dict[str, Any] | None) -> None:
        try:
            self._orders.add(kind, _order(kind, order), heard=self._hear)
            self._settled = self._settled and kind == "update"
        except StepgraphError as error:
            self._hear(error)

    def _hear(self, error: StepgraphError) -> None:
        """A signal that cannot be honoured fails nothing: it is logged, and shown in the state."""
        self._errors = [*self._errors[-MAX_ERRORS + 1 :], error.message]
        self._say("signal refused", error=error.message)

    def _check_time(self) -> None:
        """Takes no update while a local activity is under way; its caller asks again.

        The SDK answers an update before it tells the workflow what a local activity has answered meanwhile, but in a
        replay the answer comes first: an update accepted in between would be found in another place, for ever.
        """
        if self._asking:
            raise ApplicationError("The run is not ready yet; ask again.", type=ASK_AGAIN, non_retryable=True)

    @workflow.query(name=GET_STATE)
    def get_state(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """The head, or the checkpoint asked for, as a `StateSnapshot`."""
        return answers.state(self._thread, request, self._errors, stored=self.stored)

    @workflow.query(name=GET_HISTORY)
    def get_state_history(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """This run's checkpoints, newest first, and which run holds the older ones."""
        taken_up = self._opening.record if self._opening else None
        return answers.history(self._thread, taken_up, request, stored=self.stored)

    @workflow.query(name=GET_RECORD)
    def get_record(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """What the thread's next run would go on from, if this one ended now."""
        return answers.record(self._thread, self._opening, request, stored=self.stored)

    @workflow.query(name=CHECK)
    def check(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """Whether the thread's next run would refuse an order, as far as this closed one can tell."""
        return answers.check(self._thread, self._code, request)

    @workflow.query(name=GET_VALUES)
    def get_values(self, request: RawValue = NOTHING_ASKED) -> RawValue:
        """The values at a checkpoint, for an activity that does not have them at hand."""
        return answers.values(self._thread, request, stored=self.stored)


def refusal(error: StepgraphError) -> ApplicationError:
    """An error as an update's caller is told of it."""
    return ApplicationError(error.message, to_raw(error.to_wire()), type=type(error).__name__, non_retryable=True)
