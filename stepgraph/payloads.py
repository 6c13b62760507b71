"""JSON data as Temporal payloads, whatever payload converter the client has.

The SDK's JSON converter sorts keys and escapes what is not ASCII; these payloads keep a mapping's order and their size
is that of the JSON text that the engine weighs. Payload codecs (encryption, say) apply as ever.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue


def to_raw(value: Any) -> RawValue:
    """JSON data (or a model of `stepgraph.wire`) as a payload."""
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=to_json(value)))


def from_raw(raw: RawValue) -> Any:
    """The JSON data of a payload; `ValueError` if it holds something else."""
    encoding = raw.payload.metadata.get("encoding", b"").decode()
    if encoding == "binary/null":
        return None
    if encoding not in ("json/plain", "json/protobuf"):
        raise ValueError(f"Expected a JSON payload, got one of encoding {encoding!r}.")
    return from_json(raw.payload.data)
