"""What Temporal carries, and the one refusal of what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepgraph.errors import PayloadTooLargeError

PAYLOAD_LIMIT: Final = 1_900_000
"""Bytes of JSON that an input, a task's writes or a state may have: servers refuse a payload above 2 MiB, of which
stepgraph needs some for itself."""

STORED_LIMIT: Final = 64_000_000
"""The same with external storage. Every worker at work on a thread holds several copies of its state in memory."""


def size_limit(*, uses_external_storage: bool) -> int:
    """What a state may weigh, with external storage or without."""
    return STORED_LIMIT if uses_external_storage else PAYLOAD_LIMIT


def check_size(what: str, sizes: Mapping[str, int], *, limit: int = PAYLOAD_LIMIT, **parts: Any) -> None:
    """Refuses ``what``, given as bytes by channel, if it is too large; names the largest channel, and the mend."""
    total = sum(sizes.values())
    if total <= limit:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    if limit == PAYLOAD_LIMIT:
        carried = f"Temporal carries {limit:,}"
        mend = f"Set STEPGRAPH_STORAGE on every worker and client, for up to {STORED_LIMIT:,}; or keep"
    else:
        carried, mend = f"stepgraph takes {limit:,} with external storage", "Keep"
    raise PayloadTooLargeError(
        f"{what} has {total:,} bytes, of which channel {largest!r} has {sizes[largest]:,}; {carried}. "
        f"{mend} large values elsewhere, and their address in the state.",
        channel=largest,
        size=sizes[largest],
        limit=limit,
        **parts,
    )
