"""What can be said of values that come in without the graph's code: names, size and depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.spec import GraphSpec
from stepgraph.errors import InvalidInputError, suggest
from stepgraph.protocol.root_value import is_wrapped, unwrapped, wrapped
from stepgraph.serde.error_text import type_name
from stepgraph.serde.json_values import size_by_channel
from stepgraph.serde.plain_json import json_size
from stepgraph.serde.sizes import MAX_DEPTH, TOO_DEEP, check_size, config_size_problem, is_too_deep, size_limit

SHOWN_KEY = 200
"""Characters of an unknown key that a message shows."""


def check_values(spec: GraphSpec, values: Any, *, types: str = "", uses_external_storage: bool) -> dict[str, Any]:
    """Return an input, or the values of an update, that is JSON data.

    Args:
        spec: the run's spec.
        values: the values.
        types: the hash of the types under which they were encoded; see `UpdateCommand.types`.
        uses_external_storage: whether they may be as large as external storage allows.

    Raises:
        InvalidInputError: it is not a mapping, though the state has keys; it has a key that the state does not declare;
            or it is nested too deep.
        PayloadTooLargeError: it is too large.
    """
    if spec.is_root:
        values = wrapped(values)
    elif is_wrapped(values):  # by a client without the graph's code
        values = unwrapped(values)
    if spec.ignores_unknown_keys and isinstance(values, Mapping):
        values = {key: value for key, value in values.items() if key in spec.channels_by_name}
    if not isinstance(values, Mapping):
        raise InvalidInputError(
            f"The input of graph {spec.name!r} must be a JSON object with its state's keys "
            f"({', '.join(map(repr, spec.channel_names))}), or null to resume; got {type_name(values)}.",
            graph=spec.name,
        )
    for key, value in values.items():
        if key not in spec.channels_by_name:
            key = str(key)[:SHOWN_KEY]
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


def check_answer(thread_id: str, answer: Any) -> None:
    """Check an answer to interrupts. Its size is checked with the state's.

    Raises:
        InvalidInputError: it is nested too deep.
    """
    if is_too_deep(answer):
        raise InvalidInputError(
            f"The answer for thread {thread_id!r} cannot be taken: {TOO_DEEP}. Make it flatter.", thread_id=thread_id
        )


def check_config(config: Mapping[str, Any]) -> None:
    """Check the part of a caller's config that nodes see.

    Raises:
        InvalidInputError: it is nested too deep, or too large.
    """
    if is_too_deep(config):
        raise InvalidInputError(f"The config cannot be handed to nodes: {TOO_DEEP}. Make it flatter.")
    size = json_size(config)
    if (problem := config_size_problem(size)) is not None:
        raise InvalidInputError(problem, size=size)


def _of_other_code(spec: GraphSpec, types: str) -> str:
    """Return a sentence on why a key that the caller's code declares is unknown; empty if that is not the reason."""
    if types in ("", spec.types_hash):
        return ""
    return " The open run was started by other code, and keeps to what that declared until it ends."
