"""JSON data as Temporal payloads, whatever payload converter the client has.

The SDK's JSON converter sorts keys and escapes what is not ASCII; these payloads keep a mapping's order and their size
is that of the JSON text that the engine weighs. Payload codecs (encryption, say) apply as ever.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

REPEATS: Final = "stepgraph-repeats"
"""Metadata of a payload that external storage is to take although Temporal would: the history has most of it already.
Small ones go without, for Temporal's own command line shows payloads with metadata of their own as base64."""

REPEATS_FROM: Final = 100_000


def to_raw(value: Any, *, repeats: bool = False) -> RawValue:
    """JSON data (or a model of `stepgraph.protocol.wire`) as a payload; ``repeats`` says that the history has most of it."""
    made = Payload(metadata={"encoding": b"json/plain"}, data=to_json(value))
    if repeats and len(made.data) >= REPEATS_FROM:
        made.metadata[REPEATS] = b"true"
    return RawValue(made)


def from_raw(raw: RawValue) -> Any:
    """The JSON data of a payload; `ValueError` if it holds something else."""
    encoding = raw.payload.metadata.get("encoding", b"").decode()
    if encoding == "binary/null":
        return None
    if encoding not in ("json/plain", "json/protobuf"):
        raise ValueError(
            f"Expected a JSON payload, got one of encoding {encoding!r}. If that is a codec's, it is missing here."
        )
    return from_json(raw.payload.data)


def failure(
    message: str,
    *details: Any,
    type: str,
    stack_trace: str = "",
    non_retryable: bool = True,
    next_retry_delay: timedelta | None = None,
) -> FailureError:
    """What an activity or a run raises to end with this failure, and nothing else.

    The SDK would add the traceback of its own frames, which is what the Web UI then shows, and every exception in the
    chain with its whole text, which may exceed what Temporal carries.
    """
    made = Failure(message=message, stack_trace=stack_trace)
    info = made.application_failure_info
    info.type, info.non_retryable = type, non_retryable
    info.details.payloads.extend(to_raw(detail).payload for detail in details)
    if next_retry_delay is not None:
        info.next_retry_delay.FromTimedelta(next_retry_delay)
    error = FailureError(message, failure=made)
    error.reported_by_stepgraph = True  # type: ignore[attr-defined]  # see `stepgraph.temporal.logs.quiet_sdk`
    return error
