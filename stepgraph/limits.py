"""What Temporal carries, and the one refusal of what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stepgraph.errors import PayloadTooLargeError

PAYLOAD_LIMIT: Final = 1_900_000
"""Bytes of JSON that an input, a task's writes or a state may have: servers refuse a payload above 2 MiB, of which
stepgraph needs some for itself."""


def weigh(what: str, sizes: Mapping[str, int], **parts: Any) -> None:
    """Refuses ``what``, given as bytes by channel, if it is too large; names the largest channel, and the mend."""
    total = sum(sizes.values())
    if total <= PAYLOAD_LIMIT:
        return
    largest = max(sizes, key=lambda name: sizes[name])
    raise PayloadTooLargeError(
        f"{what} has {total:,} bytes, of which channel {largest!r} has {sizes[largest]:,}; Temporal carries "
        f"{PAYLOAD_LIMIT:,}. Keep large values elsewhere, and their address in the state.",
        channel=largest,
        size=sizes[largest],
        limit=PAYLOAD_LIMIT,
        **parts,
    )
