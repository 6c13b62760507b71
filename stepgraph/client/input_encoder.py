"""Encodes a caller's input, or the values of an update, as the JSON data that is sent to Temporal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.constants import ROOT
from stepgraph.execution.state_schema import StateSchema
from stepgraph.protocol.method_arguments import as_plain_json
from stepgraph.serde.json_values import size_by_channel
from stepgraph.serde.sizes import PAYLOAD_LIMIT, check_size


def encode_input(
    graph: str, schema: StateSchema | None, input_data: Any, *, is_update: bool = False, limit: int = PAYLOAD_LIMIT
) -> dict[str, Any] | None:
    """Encode an input or an update's values; `None` stays `None`.

    Args:
        graph: the graph's name, for messages.
        schema: the graph's state schema, which gives the type of each key; without it, values must be plain JSON.
        input_data: what the caller passed.
        is_update: whether it may set any channel, not only those of an input.
        limit: the largest size in bytes.

    Raises:
        InvalidInputError: the input does not fit the state, or is not JSON data.
        PayloadTooLargeError: the input exceeds ``limit``.
    """
    if input_data is None:
        return None
    if schema is None:
        data = _encode_plain_json(graph, input_data)
    else:
        data = schema.encode_update(graph, input_data) if is_update else schema.encode_input(graph, input_data)
    check_size(f"The input of graph {graph!r}", size_by_channel(data), limit=limit)
    return data


def _encode_plain_json(graph: str, input_data: Any) -> dict[str, Any]:
    subject = f"Without the graph's code, the input of {graph!r}"
    if not isinstance(input_data, Mapping):  # the run's spec says whether the state is one value
        return {ROOT: as_plain_json(input_data, subject)}
    data: dict[str, Any] = as_plain_json(dict(input_data), subject)
    return data
