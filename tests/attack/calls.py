"""Calls on a thread: messages as an operator's tools send them, the methods of a client, starts by hand.

A call is made on a `LiveThread`. It returns whether the thread has accepted it. What else comes of it is an error of
stepgraph's, or a refusal of the server's; anything else is raised, and the oracle takes it for a fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from stepgraph import GraphClient, errors
from stepgraph.errors import NodeError, StepgraphError
from stepgraph.protocol.names import UPDATE_NOT_READY
from tests.attack.foreign import foreign_task_queue
from tests.attack.live_thread import LiveThread
from tests.attack.values import payload_of, value_of

Accepted = Literal["yes", "no", "perhaps"]
"""Whether what a call carries must be in the history: ``perhaps`` after an error that comes once a run has begun."""

REFUSED_BY_THE_SERVER = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
"""What a server answers about a message that is too large, or whose run has ended."""


NO_SUCH_QUERY = ("Query handler for", "QueryType is not set")
"""How the SDK and the server answer a query that has no handler."""


@dataclass(frozen=True, repr=False)
class Signal:
    """A signal, with payloads as arguments."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return _written("signal", self.name, *self.arguments)

    async def make(self, thread: LiveThread) -> Accepted:
        await _send(thread.handle.signal(self.name, args=_payloads(self.arguments, thread)))
        return "perhaps"


@dataclass(frozen=True, repr=False)
class Update:
    """An update, sent past the client."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return _written("update", self.name, *self.arguments)

    async def make(self, thread: LiveThread) -> Accepted:
        arguments = _payloads(self.arguments, thread)
        try:
            answered = await _send(thread.handle.execute_update(self.name, args=arguments, result_type=RawValue))
        except WorkflowUpdateFailedError as error:
            _check_failure(error.cause)
            return "perhaps"
        return "yes" if answered else "no"


@dataclass(frozen=True, repr=False)
class Query:
    """A query, sent past the client."""

    name: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return _written("query", self.name, *self.arguments)

    async def make(self, thread: LiveThread) -> Accepted:
        try:
            await _send(thread.handle.query(self.name, args=_payloads(self.arguments, thread), result_type=RawValue))
        except WorkflowQueryFailedError as error:
            if not str(error).startswith(NO_SUCH_QUERY):
                raise
        return "no"


@dataclass(frozen=True, repr=False)
class Start:
    """A start by hand: ``temporal workflow start --type ... --input ...``."""

    type: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return _written("start", self.type, *self.arguments)

    async def make(self, thread: LiveThread) -> Accepted:
        client, arguments = thread.stage.client, _payloads(self.arguments, thread)
        task_queue = thread.stage.task_queue
        try:
            handle = await client.start_workflow(
                thread.graph.name if self.type == "GRAPH" else self.type,
                args=arguments,
                id=thread.thread_id,
                task_queue=task_queue,
                result_type=RawValue,
            )
        except WorkflowAlreadyStartedError:
            return "no"
        except RPCError as error:
            _check_refusal(error)
            return "no"
        thread.started_by_hand.append(str(handle.result_run_id))
        try:
            await thread.wait_for(handle)
        except WorkflowFailureError as error:
            _check_failure(error.cause)
            return "perhaps"
        return "perhaps"


@dataclass(frozen=True, repr=False)
class Method:
    """A method of a client with the graph's schema, or, with ``untyped``, of one without it."""

    name: str
    arguments: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    untyped: bool = False

    def __repr__(self) -> str:
        keywords = "".join(f", {name}={value!r}" for name, value in self.keywords.items())
        return f"{'untyped ' if self.untyped else ''}{self.name}({', '.join(map(repr, self.arguments))}{keywords})"

    async def make(self, thread: LiveThread) -> Accepted:
        client = thread.client
        if self.untyped:
            client = GraphClient(thread.stage.client, thread.graph.name, task_queue=thread.stage.task_queue)
        arguments, keywords = value_of(list(self.arguments), thread), value_of(dict(self.keywords), thread)
        try:
            called = getattr(client, self.name)(*arguments, **keywords)
            if self.name == "aget_state_history":
                [snapshot async for snapshot in called]
            else:
                await called
        except StepgraphError as error:
            hash(str(error))
            repr(error)
            return "perhaps" if isinstance(error, NodeError | errors.RunEndedError) else "no"
        return "yes"


@dataclass(frozen=True, repr=False)
class Foreign:
    """A run of a workflow that is not stepgraph's, under the thread's id: see `tests.attack.foreign`."""

    end: Literal["result", "failure", "none"]
    arguments: tuple[Any, ...] = ()
    of_graph: bool = True
    """Whether its workflow type is the graph's name."""

    def __repr__(self) -> str:
        return _written("foreign run", "of the graph" if self.of_graph else "of another", self.end, *self.arguments)

    async def make(self, thread: LiveThread) -> Accepted:
        end = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(self.end).encode()))
        handle = await _send(
            thread.stage.client.start_workflow(
                thread.graph.name if self.of_graph else "foreign",
                args=[end, *_payloads(self.arguments, thread)],
                id=thread.thread_id,
                task_queue=foreign_task_queue(thread.stage),
                result_type=RawValue,
            )
        )
        if handle is not None and self.end != "none":
            with suppress(WorkflowFailureError):
                await handle.result()
        return "no"


Call = Signal | Update | Query | Start | Method | Foreign


def _written(kind: str, *parts: Any) -> str:
    """Return a call as a failing example shows it."""
    return f"{kind}({', '.join(map(repr, parts))})"


async def _send(sent: Any) -> Any:
    """Return the answer; None if the server refuses the message. ``sent`` is the SDK's awaitable."""
    try:
        return await sent
    except RPCError as error:
        _check_refusal(error)
        return None


def _payloads(arguments: tuple[Any, ...], thread: LiveThread) -> list[RawValue]:
    return [payload_of(argument, thread) for argument in arguments]


def _check_refusal(error: RPCError) -> None:
    """Raise the error unless it is one with which a server refuses what it was sent."""
    if error.status not in REFUSED_BY_THE_SERVER and not any(sign in str(error) for sign in ("exceed", "larger than")):
        raise error


def _check_failure(cause: BaseException | None) -> None:
    """Raise the cause of a failure unless it is an error of stepgraph's."""
    kind = cause.type if isinstance(cause, ApplicationError) else None
    known = isinstance(getattr(errors, kind or "", None), type)
    if not known and kind != UPDATE_NOT_READY and not _from_sdk(cause):
        raise cause or AssertionError("a failure without a cause")


def _from_sdk(cause: BaseException | None) -> bool:
    """Return whether the SDK itself has refused an update: no handler of stepgraph's has such a name."""
    return "expected but not found" in str(cause)
