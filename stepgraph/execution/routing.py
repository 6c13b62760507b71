"""Where a task leads: asks a node's routers, with the state as the node's own writes make it."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

from stepgraph.engine.changes import NOTHING, Change
from stepgraph.engine.checkpoint import SentTask
from stepgraph.engine.constants import START
from stepgraph.engine.folding import Write
from stepgraph.errors import InvalidUpdateError, suggest
from stepgraph.execution.call_function import RunSync, call_function
from stepgraph.execution.channels import Values
from stepgraph.execution.custom_folds import fold_writes
from stepgraph.execution.registry import GraphRegistry, RegisteredRouter
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_task_code import route_task_code
from stepgraph.execution.sent_input import encode_sends
from stepgraph.execution.task_context import task_context
from stepgraph.protocol.langgraph_objects import from_langgraph
from stepgraph.protocol.send import Send
from stepgraph.protocol.task_request import TaskRequest
from stepgraph.serde.json_values import JsonValues


async def route(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Write],
    changes: Mapping[str, Change],
    *,
    run_sync: RunSync,
    attempt: int = 1,
) -> tuple[tuple[str, ...], tuple[SentTask, ...]]:
    """Call the node's routers with the state plus the node's own writes; return the nodes that they choose, and send.

    ``changes`` are what the writes make of channels with a custom fold. Raises like `run_task`.
    """
    goto: list[str] = []
    sends: list[SentTask] = []
    routers = code.routers_of(request.node)
    if not routers:
        return (), ()
    if (task_code := code.registry.task_code) is not None:
        return await route_task_code(task_code, code, request, state, writes, run_sync=run_sync, attempt=attempt)
    schema, stamps = code.registry.schema, code.recorded_stamps(request.stamps)
    changed = _after_own_writes(code, request, state, writes, changes)
    context = task_context(code, request, attempt)
    for name in routers:
        router = code.router(request.node, name)
        known: dict[str, str] | None = None if stamps is None else {}
        changed_values = schema.channels.decode(_present(changed), known)  # its parts may be of several types
        values = schema.channels.decode(_except(state, changed), stamps) | changed_values
        node_state = _router_state(code, request.node, router, schema.channels.zero_values() | values, writes)
        returned = await call_function(router.function, router.parameters, node_state, context, run_sync)
        names, sent = _destinations(code.registry, request.node, name, router, returned)
        goto += names
        sends += encode_sends(schema, code.registry.spec.node_names, f"Router {name!r} of node {request.node!r}", sent)
    return tuple(goto), tuple(sends)


def _router_state(code: RunCode, node: str, router: RegisteredRouter, values: Values, writes: Sequence[Write]) -> Any:
    """Return the state as a router gets it: of its own class, or of its node's with what the node wrote beside it."""
    schema, source = code.registry.schema, code.registry.nodes.get(node)
    own_class = router.input_schema
    node_class = source.input_schema if source is not None else None
    state = schema.node_state(values, node_class if own_class is None else own_class)
    if own_class is not None or not isinstance(state, dict) or schema.is_root:
        return state
    written = {write.channel: write.value for write in writes if write.channel not in state}
    return {**{name: code.channels[name].decode_write(value) for name, value in written.items()}, **state}


def _after_own_writes(
    code: RunCode,
    request: TaskRequest,
    state: Mapping[str, Any],
    writes: Sequence[Write],
    changes: Mapping[str, Change],
) -> Values:
    """Return the values that a node's own writes make, as JSON data. A new thread also has its empty values."""
    zeros = code.channels.zeros() if request.node == START else {}
    before: Values = ChainMap(state, zeros)  # type: ignore[arg-type]  # nothing is written to it
    not_custom = [write for write in writes if write.channel not in changes]
    changed = {name: zero for name, zero in zeros.items() if name not in state}
    changed |= fold_writes(code, before, not_custom, stamps=request.stamps, step=request.step)
    changed |= {name: change.apply(before.get(name, NOTHING)) for name, change in changes.items()}
    return changed


def _present(changed: Values) -> Values:
    return {name: value for name, value in changed.items() if value is not NOTHING}


def _except(state: Mapping[str, Any], changed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values that did not change, in the form in which they came."""
    if isinstance(state, JsonValues):
        return JsonValues({name: text for name, text in state.texts.items() if name not in changed})
    return {name: value for name, value in state.items() if name not in changed}


def _destinations(
    registry: GraphRegistry, node: str, name: str, router: RegisteredRouter, returned: Any
) -> tuple[list[str], list[Send]]:
    """Return the nodes and the `Send`s that a router returned; raise `InvalidUpdateError` for a node it may not choose.

    A mapping renames no `Send`, and a `Send` may go to any node.
    """
    possible = next(
        registry.spec.destinations(branch) for branch in registry.spec.branches_of(node) if branch.name == name
    )
    destinations: list[str] = []
    sends: list[Send] = []
    for label in returned if isinstance(returned, list | tuple) else [returned]:
        destination = from_langgraph(label)
        if isinstance(destination, Send):
            sends.append(destination)
            continue
        if router.mapping is not None:
            if not _has_label(router.mapping, label):
                raise InvalidUpdateError(
                    f"Router {name!r} of node {node!r} returned {label!r}, which its mapping does not name."
                    f"{suggest(str(label), map(str, router.mapping))}",
                    nodes=[node],
                )
            destination = router.mapping[label]
        if destination not in possible:
            raise InvalidUpdateError(
                f"Router {name!r} of node {node!r} leads to {destination!r}, which is not one of its destinations."
                f"{suggest(str(destination), possible)}",
                nodes=[node],
            )
        destinations.append(destination)
    return destinations, sends


def _has_label(mapping: Mapping[Any, str], label: Any) -> bool:
    try:
        return label in mapping
    except TypeError:  # the label is not hashable
        return False
