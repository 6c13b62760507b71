"""LangGraph's ``config`` dict, parsed and validated where a call enters stepgraph."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.errors import GraphWarning, InvalidThreadError
from stepgraph.protocol.unsupported import PAGE
from stepgraph.serde.error_text import value_text
from stepgraph.serde.plain_json import RoundTripError, as_json, json_size
from stepgraph.serde.sizes import config_size_problem

Config = Mapping[str, Any]
"""LangGraph's config, as a caller passes it: it names the thread and, optionally, a checkpoint."""


class RunnableConfig(TypedDict, total=False):
    """LangGraph's config, as snapshots have it and nodes get it."""

    configurable: dict[str, Any]
    """``thread_id``, ``checkpoint_id``, and keys of the caller's own."""
    tags: list[str]
    metadata: dict[str, Any]
    recursion_limit: int


CONTEXT: Final = "context"
"""The key of an invoke's context in what nodes see of a caller's config."""

Breaks = str | Sequence[str] | None
"""The nodes of a breakpoint, as a caller passes them: one name, several, or ``"*"`` for every node."""

THREAD_ID_MAX = 255
"""Bytes of a thread id as UTF-8. It becomes a Temporal workflow id: servers accept 1,000 bytes, but PostgreSQL and
MySQL store 255 characters. It also becomes a search attribute (a fork's origin), which has 2,048 bytes, in JSON that
escapes non-ASCII characters."""

MAX_RECURSION_LIMIT = 1_000_000_000

LONG_INTEGER_BITS = 10_000


@dataclass(frozen=True)
class RunConfig:
    """A parsed config."""

    thread_id: str
    checkpoint_id: str | None = None
    recursion_limit: int = DEFAULT_RECURSION_LIMIT
    node_config: dict[str, Any] = field(default_factory=dict)
    """What nodes see of the config: ``configurable`` without the two ids, ``tags``, ``metadata``; as JSON data. With
    the ``context`` of the invoke."""

    def with_context(self, context: Any) -> RunConfig:
        """Return the config with an invoke's context, which is JSON data.

        Raises:
            InvalidThreadError: both are too large together.
        """
        if context is None:
            return self
        node_config = {**self.node_config, CONTEXT: context}
        if (problem := config_size_problem(json_size(node_config))) is not None:
            raise InvalidThreadError(problem, thread_id=self.thread_id)
        return replace(self, node_config=node_config)


def merge_configs(*configs: Config | None) -> dict[str, Any]:
    """Return one config of several, as LangGraph does: tags in turn, metadata and ``configurable`` by key, the last
    value of everything else."""
    merged: dict[str, Any] = {}
    for config in configs:
        for key, value in (config or {}).items():
            before = merged.get(key)
            if key == "tags" and before and isinstance(value, Sequence):
                merged[key] = [*before, *value]
            elif key in ("metadata", "configurable") and isinstance(before, Mapping) and isinstance(value, Mapping):
                merged[key] = {**before, **value}
            elif value or key not in merged:
                merged[key] = value
    return merged


def parse_config(config: Mapping[str, Any] | None, *, new_thread: bool = False) -> RunConfig:
    """Parse a config such as ``{"configurable": {"thread_id": "t1"}, "recursion_limit": 50}``.

    Args:
        config: what a caller passed.
        new_thread: whether a config without a thread id stands for a new thread.

    Raises:
        InvalidThreadError: the config has no thread id, or a value that cannot be used.

    Warns:
        GraphWarning: the config has callbacks. They are objects of this process, and nodes run in others.
    """
    if new_thread:
        config = _with_thread(config)
    if not isinstance(config, Mapping) or not isinstance(config.get("configurable", {}), Mapping):
        raise InvalidThreadError(
            f"A config names the thread: {{'configurable': {{'thread_id': 'some-id'}}}}; got {value_text(config)}."
        )
    if config.get("callbacks"):
        warnings.warn(
            "The config's 'callbacks' do not reach nodes, which run in other processes. Give them to the model that a "
            f"node calls, or to a LangGraph graph before it is adopted: graph.with_config(callbacks=...). See {PAGE}.",
            GraphWarning,
            stacklevel=2,
        )
    configurable = dict(config.get("configurable", {}))
    thread_id = parse_thread_id(configurable.pop("thread_id", None))
    checkpoint_id = configurable.pop("checkpoint_id", None)
    configurable.pop("checkpoint_ns", None)  # LangGraph's configs have it, for subgraphs
    limit = config.get("recursion_limit", DEFAULT_RECURSION_LIMIT)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_RECURSION_LIMIT:
        raise InvalidThreadError(
            f"'recursion_limit' must be a whole number of super-steps, at least 1 and at most {MAX_RECURSION_LIMIT:,}; "
            f"got {value_text(limit)}.",
            thread_id=thread_id,
        )
    node_config = {}
    for key, value in (
        ("configurable", configurable),
        ("tags", config.get("tags")),
        ("metadata", config.get("metadata")),
    ):
        if value:
            try:
                node_config[key] = as_json(value)
            except RoundTripError as error:
                raise InvalidThreadError(
                    f"The config's {key!r} is handed to nodes in other processes, so it must be plain JSON: {error}.",
                    thread_id=thread_id,
                ) from error
    if (problem := config_size_problem(json_size(node_config))) is not None:
        raise InvalidThreadError(problem, thread_id=thread_id)
    return RunConfig(thread_id, None if checkpoint_id is None else str(checkpoint_id), limit, node_config)


def _with_thread(config: Any) -> Any:
    """Return a config with a thread id: its own, or a new one if it has none, nor a key that may be meant for one."""
    if config is None:
        config = {}
    if not isinstance(config, Mapping) or "thread_id" in config:
        return config
    configurable = config.get("configurable") or {}
    if not isinstance(configurable, Mapping):
        return config
    if get_close_matches("thread_id", [str(key).lower() for key in configurable], cutoff=0.8):
        return config
    return {**config, "configurable": {**configurable, "thread_id": str(uuid.uuid4())}}


def parse_thread_id(value: Any) -> str:
    """Return a thread id as a string. A caller may pass a string, an integer or a UUID.

    Raises:
        InvalidThreadError: the value is none of these, is not printable, or is longer than `THREAD_ID_MAX`.
    """
    if isinstance(value, uuid.UUID) or (isinstance(value, int) and not isinstance(value, bool)):
        value = hex(value) if isinstance(value, int) and value.bit_length() > LONG_INTEGER_BITS else str(value)
    if not isinstance(value, str) or not value.strip():
        raise InvalidThreadError(
            f"A thread id must be a non-empty string, an integer or a UUID; got {value_text(value)}. "
            "Pass {'configurable': {'thread_id': 'some-id'}}.",
            thread_id=value,
        )
    if not value.isprintable() or len(value.encode()) > THREAD_ID_MAX:
        raise InvalidThreadError(
            f"A thread id must be printable, and at most {THREAD_ID_MAX} bytes long, for Temporal's databases store no "
            f"more; got {len(value)} characters: {value[:40]!r}. Use a shorter one, a UUID say.",
            thread_id=value,
        )
    return value
