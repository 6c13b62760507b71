"""Runs a graph on the Temporal server that the environment names, for ``make parity PARITY=--server``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

SERVER = bool(os.environ.get("LANGGRAPH_SUITE_SERVER"))
"""Whether graphs run on a server."""


def graph_name(name: str) -> str:
    """Return a name for a test's graph: on a server, those of all tests must be different."""
    return f"{name}-{uuid.uuid4().hex[:8]}" if SERVER else name


class ServerRunner:
    """A compiled graph, with the methods of `MemoryRunner` that tests use.

    Args:
        compiled: the graph.
        prefix: stands before the thread ids of a test, which has the server together with other tests.
    """

    def __init__(self, compiled: Any, prefix: str) -> None:
        self._compiled = compiled
        self._prefix = prefix

    async def ainvoke(self, input: Any, config: Any, **options: Any) -> Any:
        """Run the graph."""
        return await self._compiled.ainvoke(input, self._on_server(config), **options)

    def get_state(self, config: Any) -> Any:
        """Return a snapshot."""
        return self._shown(self._compiled.get_state(self._on_server(config)))

    def get_state_history(self, config: Any, **options: Any) -> Iterator[Any]:
        """Yield snapshots, newest first."""
        for snapshot in self._compiled.get_state_history(self._on_server(config), **options):
            yield self._shown(snapshot)

    async def aupdate_state(self, config: Any, *arguments: Any) -> Any:
        """Write values to a thread's state."""
        return self._in_test(await self._compiled.aupdate_state(self._on_server(config), *arguments))

    async def abulk_update_state(self, config: Any, supersteps: Any) -> Any:
        """Apply several updates."""
        return self._in_test(await self._compiled.abulk_update_state(self._on_server(config), supersteps))

    def _on_server(self, config: Any) -> Any:
        ids = dict(config["configurable"])
        if "thread_id" in ids:
            ids["thread_id"] = f"{self._prefix}-{ids['thread_id']}"
        return {**config, "configurable": ids}

    def _in_test(self, config: Any) -> Any:
        ids = config["configurable"]
        return {**config, "configurable": {**ids, "thread_id": ids["thread_id"].removeprefix(f"{self._prefix}-")}}

    def _shown(self, snapshot: Any) -> Any:
        parent = snapshot.parent_config
        return snapshot._replace(config=self._in_test(snapshot.config), parent_config=parent and self._in_test(parent))
