"""Inputs, values and answers as the JSON data that crosses to Temporal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.channels import size_by_channel
from stepgraph.errors import InvalidInputError
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.method_arguments import as_plain_json
from stepgraph.serde.error_text import type_name
from stepgraph.serde.sizes import PAYLOAD_LIMIT, check_size


def encoded(graph: str, schema: StateSchema | None, given: Any, *, limit: int = PAYLOAD_LIMIT) -> dict[str, Any] | None:
    """An input, or an update's values; with the graph's schema of the types it declares. `None` stays what it is.

    Raises:
        InvalidInputError: it does not fit the state, or is no JSON data.
        PayloadTooLargeError: it is larger than Temporal carries.
    """
    if given is None:
        return None
    made = schema.encode_input(graph, given) if schema else _as_it_is(graph, given)
    check_size(f"The input of graph {graph!r}", size_by_channel(made), limit=limit)
    return made


def _as_it_is(graph: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidInputError(
            f"The input of graph {graph!r} must be a mapping of plain JSON data; got {type_name(given)}.",
            graph=graph,
        )
    made: dict[str, Any] = as_plain_json(dict(given), f"Without the graph's code, the input of {graph!r}")
    return made
