"""The options of `StateGraph.compile`: each is taken as LangGraph takes it, or refused with the option and the mend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stepgraph.errors import GraphDefinitionError
from stepgraph.protocol.unsupported import unsupported
from stepgraph.serde.error_text import type_name


def check_checkpointer(value: Any) -> bool | None:
    """Return ``checkpointer`` if it is `True`, `False` or `None`; refuse a saver."""
    if value is None or isinstance(value, bool):
        return value
    raise GraphDefinitionError(
        f"compile(checkpointer={type_name(value)}): stepgraph keeps checkpoints in Temporal's history, so leave "
        "checkpointer out."
    )


def check_transformers(value: Any) -> None:
    """Refuse transformers of streams."""
    if value:
        raise unsupported("compile(transformers=...)", "transformers")


def breakpoints(option: str, value: Any) -> tuple[str, ...]:
    """Return the nodes of ``interrupt_before`` or ``interrupt_after``: none, one, or several."""
    if value is None or isinstance(value, str):
        return () if value is None else (value,)
    if not isinstance(value, Sequence) or not all(isinstance(name, str) for name in value):
        raise GraphDefinitionError(f"{option} is a list of names of nodes, or '*' for all; got {value!r}.")
    return tuple(value)
