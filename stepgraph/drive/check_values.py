"""What a run's spec says of values that come in: names, size and depth. Types need the graph's code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import InvalidInputError, suggest
from stepgraph.serde.error_text import type_name
from stepgraph.serde.json_values import size_by_channel
from stepgraph.serde.sizes import MAX_DEPTH, check_size, is_too_deep, size_limit


def check_values(spec: GraphSpec, values: Any, *, types: str = "", uses_external_storage: bool) -> dict[str, Any]:
    """Return an input, or the values of an update, that is JSON data.

    Args:
        spec: the run's spec.
        values: the values.
        types: the hash of the types under which they were encoded; see `UpdateCommand.types`.
        uses_external_storage: whether they may be as large as external storage allows.

    Raises:
        InvalidInputError: it is not a mapping, has a key that the state does not declare, or is nested too deep.
        PayloadTooLargeError: it is too large.
    """
    if not isinstance(values, Mapping):
        raise InvalidInputError(
            f"The input of graph {spec.name!r} must be a JSON object with its state's keys "
            f"({', '.join(map(repr, spec.channel_names))}), or null to resume; got {type_name(values)}.",
            graph=spec.name,
        )
    for key, value in values.items():
        if key not in spec.channels_by_name:
            raise InvalidInputError(
                f"The input of graph {spec.name!r} has a key {key!r} that its state does not declare."
                f"{suggest(str(key), spec.channel_names)}{_of_other_code(spec, types)}",
                graph=spec.name,
                key=key,
            )
        if is_too_deep(value):
            raise InvalidInputError(
                f"The input of graph {spec.name!r} nests lists and mappings deeper than {MAX_DEPTH} levels in {key!r}. "
                "Make the value flatter, or keep it elsewhere and put its address into the state.",
                graph=spec.name,
                key=key,
            )
    limit = size_limit(uses_external_storage=uses_external_storage)
    check_size(f"The input of graph {spec.name!r}", size_by_channel(values), limit=limit)
    return dict(values)


def _of_other_code(spec: GraphSpec, types: str) -> str:
    """Return a sentence on why a key that the caller's code declares is unknown; empty if that is not the reason."""
    if types in ("", spec.types_hash):
        return ""
    return " The open run was started by other code, and keeps to what that declared until it ends."
