"""What surrounds a call of a node or a router: its config and its `Runtime`, as arguments and as context variables.

Owns `get_config`, `get_runtime`, `get_store` and `get_stream_writer`. If LangChain is loaded in the process, its own
context variable has the config, too, so that tags and metadata reach the models that a node calls. A function that runs
on a thread gets a copy of the caller's context, so there they work alike.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any

from stepgraph.errors import OutsideNodeError
from stepgraph.execution.langgraph_interrupts import keys_for_interrupts
from stepgraph.execution.node_config import node_config
from stepgraph.execution.node_timeout import AttemptTimer
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.runtime import ContextT, ExecutionInfo, Runtime, StoreOnDemand, no_heartbeat
from stepgraph.execution.scratchpad import current_scratchpad
from stepgraph.execution.stream_writer import StreamWriter, writer_to
from stepgraph.protocol.config import CONTEXT, RunnableConfig
from stepgraph.protocol.task_path import namespace_of
from stepgraph.protocol.task_request import TaskRequest

LANGGRAPH_RUNTIME = "__pregel_runtime"
"""The key of ``configurable`` under which LangGraph's own functions, and its `ToolNode`, look for the runtime."""


@dataclass(frozen=True)
class TaskContext:
    """The config and the runtime of one attempt at a task."""

    config: dict[str, Any]
    runtime: Runtime[Any]
    pushed: list[dict[str, Any]] = field(default_factory=list)
    """What the node wrote while it ran, by `push`: updates that come before what it returns."""

    def value(self, name: str) -> Any:
        """Return what a function takes beside the state, by the names of `NodeParameters`."""
        match name:
            case "config":
                return self.config
            case "runtime":
                return self.runtime
            case "store":
                return self.runtime.store
            case "writer":
                return self.runtime.stream_writer
            case _:  # "previous", and the "error" of an error handler: neither exists here
                return None


def task_context(code: RunCode, request: TaskRequest, attempt: int, timer: AttemptTimer | None = None) -> TaskContext:
    """Return the context of one attempt at a task. The config is a copy, which the node may change.

    ``timer`` is told of the node's progress.
    """
    services, registry = code.services, code.registry
    node = registry.nodes.get(request.node)
    config = node_config(code.spec, request, attempt, node.metadata if node is not None else {})
    runtime: Runtime[Any] = Runtime(
        context=registry.schema.context.decode(registry.name, request.config.get(CONTEXT)),
        store=registry.store if registry.store is not None else StoreOnDemand(services.open_store),
        stream_writer=writer_to(services.stream, request, attempt, timer.written if timer is not None else None),
        heartbeat=timer.heartbeat if timer is not None else no_heartbeat,
        execution_info=ExecutionInfo(
            checkpoint_id=request.checkpoint_id,
            checkpoint_ns=namespace_of(request.node, request.task_id),
            task_id=request.task_id,
            thread_id=request.thread_id,
            run_id=request.run_id,
            node_attempt=attempt,
            node_first_attempt_time=services.first_attempt_time,
        ),
    )
    config["configurable"][LANGGRAPH_RUNTIME] = runtime
    scratchpad = current_scratchpad.get(None)
    if scratchpad is not None:  # a node, not a router
        config["configurable"] |= keys_for_interrupts(scratchpad, request.node, request.task_id)
    return TaskContext(config, runtime)


_current: ContextVar[TaskContext] = ContextVar("stepgraph_task")


class CurrentTask:
    """Makes a context that of the running node, for the time of a ``with`` block.

    It is no `contextlib.contextmanager`: that sets the traceback of an error, which some errors do not allow.
    """

    def __init__(self, context: TaskContext) -> None:
        self._context = context
        self._tokens: list[tuple[ContextVar[Any], Token[Any]]] = []

    def __enter__(self) -> None:
        self._set(_current, self._context)
        langchain = getattr(sys.modules.get("langchain_core.runnables.config"), "var_child_runnable_config", None)
        if langchain is not None:
            self._set(langchain, self._context.config)

    def __exit__(self, *error: object) -> None:
        for variable, token in self._tokens:
            variable.reset(token)

    def _set(self, variable: ContextVar[Any], value: Any) -> None:
        self._tokens.append((variable, variable.set(value)))


def get_config() -> RunnableConfig:
    """Return the config of the running node: the one that it gets as its parameter ``config``.

    Raises:
        OutsideNodeError: called outside a node and a router.
    """
    config: Any = _context_of("get_config()").config
    return config  # type: ignore[no-any-return]  # LangGraph's dict, which has keys of callers, too


def get_runtime(context_schema: type[ContextT] | None = None) -> Runtime[ContextT]:
    """Return the `Runtime` of the running node.

    Args:
        context_schema: the type of the context, for type checkers.

    Raises:
        OutsideNodeError: called outside a node and a router.
    """
    return _context_of("get_runtime()").runtime


def get_store() -> Any:
    """Return the store that the running node may use; `None` if there is none.

    Raises:
        OutsideNodeError: called outside a node and a router.
    """
    return _context_of("get_store()").runtime.store


def get_stream_writer() -> StreamWriter:
    """Return the function by which the running node sends values to those who follow the thread.

    Raises:
        OutsideNodeError: called outside a node and a router.
    """
    return _context_of("get_stream_writer()").runtime.stream_writer


def push(update: dict[str, Any], call: str) -> None:
    """Write an update while the node runs.

    Args:
        update: values by channel.
        call: what the node called, for the error.

    Raises:
        OutsideNodeError: called outside a node and a router.
    """
    _context_of(call).pushed.append(update)


def _context_of(call: str) -> TaskContext:
    try:
        return _current.get()
    except LookupError:
        raise OutsideNodeError(f"{call} was called outside a node. Call it from inside a node or a router.") from None
