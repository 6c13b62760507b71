"""The cases: each measures, and holds what it found against the project's bounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.bench import Bench
from benchmarks.cases import chat, crowd, fused, long_chat, memory, reads, steps
from benchmarks.figures import Outcome

CASES: dict[str, Callable[[Bench], Awaitable[Outcome]]] = {
    "steps": steps.run,
    "crowd": crowd.run,
    "async": fused.run,
    "chat": chat.run,
    "long": long_chat.run,
    "reads": reads.run,
    "memory": memory.run,
}
