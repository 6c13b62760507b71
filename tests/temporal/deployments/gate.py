"""Where the nodes of the tests hold, so that a deployment meets a thread in a certain state."""

from __future__ import annotations

import asyncio
from typing import Any

from stepgraph import interrupt

ENTERED: set[str] = set()
"""The threads that a node of the first version holds in flight."""


async def gate(config: dict[str, Any], version: int) -> None:
    """Hold as the thread's config says: only the first version blocks or fails; every version asks for an answer."""
    until = config["configurable"]["until"]
    if until == "waiting":
        interrupt("go on?")
    elif until == "running" and version == 1:
        ENTERED.add(config["configurable"]["thread_id"])
        await asyncio.Event().wait()
    elif until == "failed" and version == 1:
        raise OSError("the service is away")
