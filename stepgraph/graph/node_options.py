"""The options of `StateGraph.add_node`, checked: each error names the node, the rule and the fix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from stepgraph.engine.spec import Durability, RetrySpec
from stepgraph.errors import GraphDefinitionError
from stepgraph.execution.node_parameters import NodeParameters, is_runnable, name_of, parameters_of
from stepgraph.execution.node_timeout import TimeoutPolicy
from stepgraph.execution.retry import MAX_SECONDS, MIN_SECONDS, RetryPolicy
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.unsupported import PAGE
from stepgraph.serde.error_text import first_line

TASK_QUEUE_MAX = 200
"""Characters of a task queue's name. Servers take 1,000 bytes, and a longer name fails workflow tasks for ever."""

Seconds = float | timedelta
DEFAULT_TIMEOUT = timedelta(days=1)

INSTEAD = {
    "error_handler": "catch the exception in the node, and return what the handler would; or lead on with a Command.",
    "cache_policy": "results of finished nodes are recorded and never computed twice on a thread; for a cache across "
    "threads, keep results in a store, by runtime.store.",
    "trace_policy": "nodes are traced by Temporal and by the callbacks of the models that they call.",
}
"""What to do instead of each option that does not exist here."""


def name_and_function(node: Any, action: Any) -> tuple[str, Callable[..., Any]]:
    """Return a node's name and function from the first two arguments of `add_node`."""
    if isinstance(node, str):
        if action is None:
            raise GraphDefinitionError(f"Node {node!r} has no function: add_node({node!r}, function).", node=node)
        return node, action
    if action is not None or not (callable(node) or is_runnable(node)):
        raise GraphDefinitionError(
            f"add_node takes a function or a Runnable, or a name and one of these; got {node!r}."
        )
    return name_of(node), node


def name_in_sequence(node: Any) -> str:
    """Return the name of a node that stands in a sequence without one. LangGraph names a Runnable after its class."""
    return str(getattr(node, "__name__", type(node).__name__))


def node_parameters(what: str, name: str, function: Callable[..., Any]) -> NodeParameters:
    """Return what a node or router takes.

    Args:
        what: names the function in the message.
        name: the node.
        function: the node's function, or the router.

    Raises:
        GraphDefinitionError: it cannot be called, or has a parameter for which there is no value.
    """
    if isinstance(function, CompiledGraph):
        raise GraphDefinitionError(
            f"{what} is a graph of stepgraph. Graphs as nodes are not supported yet: see {PAGE}. Add its nodes to this "
            "graph; or call it in a node of this graph, with a thread of its own.",
            node=name,
        )
    if not (callable(function) or is_runnable(function)):
        mend = " Give a RunnableParallel for a mapping of functions." if isinstance(function, Mapping) else ""
        raise GraphDefinitionError(f"{what} must be a function or a Runnable, got {function!r}.{mend}", node=name)
    try:
        return parameters_of(function)
    except TypeError as error:
        raise GraphDefinitionError(
            f"{what} cannot be called as function(state) with any of config, runtime, store, writer by name: "
            f"{first_line(error)}. Give that parameter a default, or leave it out.",
            node=name,
        ) from error


def retry_policies(node: str, value: Any) -> tuple[RetryPolicy, ...]:
    """Return a node's retry policies: none, one, or several."""
    if value is None:
        return ()
    several = [value] if isinstance(value, RetryPolicy) or not isinstance(value, Sequence) else value
    if getattr(value, "_fields", None) == RetryPolicy._fields:  # LangGraph's class
        several = [value]
    policies = []
    for each in several:
        if getattr(each, "_fields", None) != RetryPolicy._fields:
            raise GraphDefinitionError(
                f"Node {node!r}: retry_policy must be a stepgraph.RetryPolicy, or several, got {each!r}.", node=node
            )
        policies.append(RetryPolicy(*each))
    return tuple(policies)


def retry_spec(node: str, policies: Sequence[RetryPolicy]) -> RetrySpec | None:
    """Return the data of a node's retry policies: of several, of the one with the most attempts.

    The server needs to know only how many attempts there may be. The code decides which policy an exception matches.
    """
    try:
        specs = [policy.spec() for policy in policies]
    except ValueError as error:
        raise GraphDefinitionError(f"Node {node!r}: {error}.", node=node) from error
    return max(specs, key=lambda spec: spec.max_attempts, default=None)


def seconds_of(node: str, option: str, value: Seconds) -> float:
    """Return a timeout in seconds; ``node`` and ``option`` name it in the message if it is out of range."""
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not MIN_SECONDS <= seconds <= MAX_SECONDS or isinstance(value, bool):
        raise GraphDefinitionError(
            f"Node {node!r}: {option} must be a positive number of seconds or a timedelta, from a millisecond to ten "
            f"years; got {value!r}.",
            node=node,
        )
    return seconds


def node_timeout(node: str, value: Any) -> tuple[float, TimeoutPolicy | None]:
    """Return the seconds after which another attempt begins, and the policy by which an attempt fails."""
    if value is None:
        return DEFAULT_TIMEOUT.total_seconds(), None
    if not (hasattr(value, "run_timeout") and hasattr(value, "idle_timeout")):  # LangGraph's TimeoutPolicy has both
        return seconds_of(node, "timeout", value), None
    try:
        policy = TimeoutPolicy(
            run_timeout=value.run_timeout, idle_timeout=value.idle_timeout, refresh_on=value.refresh_on
        ).checked()
    except ValueError as error:
        raise GraphDefinitionError(f"Node {node!r}: {error}.", node=node) from error
    return max(DEFAULT_TIMEOUT.total_seconds(), float(policy.run_timeout or 0)), policy  # type: ignore[arg-type]  # checked


def refuse(owner: str, **options: Any) -> None:
    """Refuse options of LangGraph's that do not exist here; ``owner`` is the node, or the method, that has them."""
    for name, value in options.items():
        if value is not None:
            raise GraphDefinitionError(
                f"{owner!r} has {name}={value!r}, an option of LangGraph's that stepgraph does not have: "
                f"{INSTEAD[name]} See {PAGE}.",
                node=owner,
            )


def check_task_queue(node: str, value: Any) -> None:
    """Refuse what cannot be the name of a task queue."""
    if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > TASK_QUEUE_MAX):
        raise GraphDefinitionError(
            f"Node {node!r}: task_queue must be the name of a task queue, of at most {TASK_QUEUE_MAX} characters, "
            f"got {value!r}. "
            "Leave it out to run the node with the rest of its graph.",
            node=node,
        )


def node_metadata(node: str, value: Any) -> dict[str, Any]:
    """Return a node's metadata as a mapping with strings as keys."""
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise GraphDefinitionError(
            f"Node {node!r}: metadata must be a mapping with strings as keys, got {value!r}.", node=node
        )
    return dict(value)


def check_store(value: Any) -> None:
    """Refuse what has not the methods of a store."""
    if value is not None and not all(callable(getattr(value, method, None)) for method in ("batch", "abatch")):
        raise GraphDefinitionError(
            f"compile(store=...) takes a BaseStore of langgraph-checkpoint, such as InMemoryStore(); got {value!r}. "
            "Leave it out, and nodes find the store of the worker's process, which STEPGRAPH_STORE names."
        )


def durability_of(
    owner: str, value: Any, task_queue: str | None = None, *, is_graph: bool = False
) -> Durability | None:
    """Return the durability of a node or graph, if it is a valid one; ``owner`` names that in the message."""
    allowed = (None, "sync", "async", *(("exit",) if is_graph else ()))
    if value not in allowed:
        names = " or ".join(map(repr, allowed[1:]))
        raise GraphDefinitionError(f"{owner}: durability must be {names}, got {value!r}.")
    if value == "async" and task_queue is not None:
        raise GraphDefinitionError(
            f"{owner} cannot have durability='async' and a task_queue of its own: what is 'async' runs in one process "
            "with the steps around it. Leave one of them out."
        )
    durability: Durability | None = value
    return durability
