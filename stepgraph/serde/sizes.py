"""How large an input, a task's writes and a state may be, and the error for what is larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepgraph.errors import PayloadTooLargeError

PAYLOAD_LIMIT: Final = 1_900_000
"""Bytes of JSON that an input, a task's writes or a state may have without external storage. Temporal servers refuse a
payload above 2 MiB; stepgraph needs the difference for its own data."""

EXTERNAL_STORAGE_LIMIT: Final = 64_000_000
"""The same limit with external storage. A worker holds several copies of a state in memory while it runs a thread."""

MAX_CONFIG_BYTES: Final = 50_000
"""Bytes of JSON that nodes may see of a caller's config. Every activity's input has it."""

MAX_DEPTH: Final = 100
"""How deep lists and mappings may be nested in a value that comes in: of a channel, an answer, a config. JSON parsers
give up at about 200, and stepgraph puts values into messages and records of its own."""

TOO_DEEP: Final = f"it nests lists and mappings deeper than {MAX_DEPTH} levels"


def is_too_deep(data: Any, *, limit: int = MAX_DEPTH) -> bool:
    """Return whether lists and mappings are nested deeper than ``limit`` in JSON data."""
    level = [data]
    for _ in range(limit):
        level = [
            item
            for part in level
            if isinstance(part, list | tuple | dict)
            for item in (part.values() if isinstance(part, dict) else part)
        ]
        if not level:
            return False
    return any(isinstance(part, list | tuple | dict) for part in level)


def config_size_problem(size: int) -> str | None:
    """Return what is wrong with a caller's config of so many bytes of JSON; `None` if it is small enough."""
    if size <= MAX_CONFIG_BYTES:
        return None
    return (
        f"The config has {size:,} bytes of JSON, and every node's activity has a copy: at most {MAX_CONFIG_BYTES:,} "
        "are allowed. Put what is large into the state."
    )


def size_limit(*, uses_external_storage: bool) -> int:
    """Return the bytes of JSON that an input, a task's writes or a state may have."""
    return EXTERNAL_STORAGE_LIMIT if uses_external_storage else PAYLOAD_LIMIT


def check_size(subject: str, sizes: Mapping[str, int], *, limit: int = PAYLOAD_LIMIT, **parts: Any) -> None:
    """Check that data is not too large. The error names the largest channel and the ways to make the data smaller.

    Args:
        subject: what the data is, to begin the message with: ``"The input of graph 'g'"``.
        sizes: bytes of JSON by channel.
        limit: bytes that are allowed in all.
        parts: more parts of the error.

    Raises:
        PayloadTooLargeError: the sizes add up to more than ``limit``.
    """
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    if limit == PAYLOAD_LIMIT:
        rule = f"Temporal carries {limit:,}"
        fix = f"Set STEPGRAPH_STORAGE on every worker and client, for up to {EXTERNAL_STORAGE_LIMIT:,}; or keep"
    else:
        rule, fix = f"stepgraph takes {limit:,} with external storage", "Keep"
    raise PayloadTooLargeError(
        f"{subject} has {total:,} bytes, of which channel {largest!r} has {sizes[largest]:,}; {rule}. "
        f"{fix} large values elsewhere, and their address in the state.",
        channel=largest,
        size=sizes[largest],
        limit=limit,
        **parts,
    )
