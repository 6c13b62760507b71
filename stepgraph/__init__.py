"""stepgraph runs LangGraph-style graphs durably on Temporal.

Owns the public names: users import them from here, and errors from `stepgraph.errors`. A name is loaded when it is
first used, so that ``import stepgraph`` does not load Temporal's SDK.

Read first: `stepgraph.graph` (building and running a graph), `stepgraph.engine` (what a graph means), then
`stepgraph.client` (what a call does on the server).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stepgraph.client import GraphClient, GraphRun
    from stepgraph.engine.constants import END, START
    from stepgraph.execution.message_reducer import add_messages
    from stepgraph.execution.node_timeout import TimeoutPolicy
    from stepgraph.execution.retry import RetryPolicy
    from stepgraph.execution.runtime import ExecutionInfo, Runtime
    from stepgraph.execution.scratchpad import interrupt
    from stepgraph.execution.stream_writer import StreamWriter
    from stepgraph.execution.task_context import get_config, get_runtime, get_store, get_stream_writer
    from stepgraph.graph.adopting import adopt
    from stepgraph.graph.builder import StateGraph
    from stepgraph.graph.compiled import CompiledGraph
    from stepgraph.graph.messages import REMOVE_ALL_MESSAGES, MessagesState, push_message
    from stepgraph.hosting.plugin import GraphPlugin
    from stepgraph.protocol.config import RunnableConfig
    from stepgraph.protocol.interrupts import Command, Interrupt
    from stepgraph.protocol.overwrite import Overwrite
    from stepgraph.protocol.send import Send
    from stepgraph.protocol.snapshot import CheckpointMetadata, StateSnapshot, TaskSnapshot

__version__ = "0.1.0"

_MODULES = {
    "CheckpointMetadata": "stepgraph.protocol.snapshot",
    "Command": "stepgraph.protocol.interrupts",
    "CompiledGraph": "stepgraph.graph.compiled",
    "END": "stepgraph.engine.constants",
    "ExecutionInfo": "stepgraph.execution.runtime",
    "GraphClient": "stepgraph.client",
    "GraphPlugin": "stepgraph.hosting.plugin",
    "GraphRun": "stepgraph.client",
    "Interrupt": "stepgraph.protocol.interrupts",
    "MessagesState": "stepgraph.graph.messages",
    "Overwrite": "stepgraph.protocol.overwrite",
    "REMOVE_ALL_MESSAGES": "stepgraph.graph.messages",
    "RetryPolicy": "stepgraph.execution.retry",
    "RunnableConfig": "stepgraph.protocol.config",
    "Runtime": "stepgraph.execution.runtime",
    "START": "stepgraph.engine.constants",
    "Send": "stepgraph.protocol.send",
    "StateGraph": "stepgraph.graph.builder",
    "StateSnapshot": "stepgraph.protocol.snapshot",
    "StreamWriter": "stepgraph.execution.stream_writer",
    "TaskSnapshot": "stepgraph.protocol.snapshot",
    "TimeoutPolicy": "stepgraph.execution.node_timeout",
    "add_messages": "stepgraph.execution.message_reducer",
    "get_config": "stepgraph.execution.task_context",
    "get_runtime": "stepgraph.execution.task_context",
    "get_store": "stepgraph.execution.task_context",
    "get_stream_writer": "stepgraph.execution.task_context",
    "adopt": "stepgraph.graph.adopting",
    "interrupt": "stepgraph.execution.scratchpad",
    "push_message": "stepgraph.graph.messages",
}
"""The module that defines each public name."""

__all__ = [
    "END",
    "REMOVE_ALL_MESSAGES",
    "START",
    "CheckpointMetadata",
    "Command",
    "CompiledGraph",
    "ExecutionInfo",
    "GraphClient",
    "GraphPlugin",
    "GraphRun",
    "Interrupt",
    "MessagesState",
    "Overwrite",
    "RetryPolicy",
    "RunnableConfig",
    "Runtime",
    "Send",
    "StateGraph",
    "StateSnapshot",
    "StreamWriter",
    "TaskSnapshot",
    "TimeoutPolicy",
    "add_messages",
    "adopt",
    "get_config",
    "get_runtime",
    "get_store",
    "get_stream_writer",
    "interrupt",
    "push_message",
]


_NOT_HERE = {
    "CachePolicy": "Results of finished nodes are recorded; a cache across threads may be kept in a store.",
    **dict.fromkeys(
        ("InMemorySaver", "MemorySaver", "SqliteSaver", "AsyncSqliteSaver", "PostgresSaver", "AsyncPostgresSaver"),
        "Checkpoints are kept in Temporal: leave checkpointer= out.",
    ),
    **dict.fromkeys(("BaseStore", "InMemoryStore"), "Import it from langgraph.store, as before."),
    **dict.fromkeys(
        ("ToolNode", "tools_condition", "create_react_agent", "InjectedState", "InjectedStore"),
        "Import it from langgraph.prebuilt, as before.",
    ),
    **dict.fromkeys(
        ("IsLastStep", "RemainingSteps"), "Only adopted graphs have managed values: stepgraph.adopt(graph)."
    ),
    "AnyMessage": "Import it from langchain_core.messages, as before.",
    "CompiledStateGraph": "The class is CompiledGraph.",
    "GraphRecursionError": "Import it from stepgraph.errors.",
    "TracePolicy": "Nodes are traced by Temporal and by the callbacks of the models that they call.",
    "entrypoint": "Build the workflow with StateGraph.",
    "task": "Build the workflow with StateGraph: each node is a task.",
}
"""LangGraph's names that have no counterpart, and what to do instead."""


def __getattr__(name: str) -> Any:
    if name in _NOT_HERE:  # no AttributeError: an import would replace its message
        from stepgraph.protocol.unsupported import PAGE

        raise ImportError(f"stepgraph has no {name}. {_NOT_HERE[name]} See {PAGE}.", name=__name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value  # from now on, the name is found without a call of this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
