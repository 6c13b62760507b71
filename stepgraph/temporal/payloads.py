"""JSON data as Temporal payloads, independent of the client's payload converter.

The SDK's JSON converter sorts keys and escapes what is not ASCII. These payloads keep a mapping's order, and their size
is the size of the JSON text that the engine checks against its limits. The client's payload codecs, such as
encryption, still apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.exceptions import FailureError

from stepgraph.serde.formats import Data

REPEATS: Final = "stepgraph-repeats"
"""The metadata key of a payload that goes to external storage although it is small enough for Temporal's history,
because the history contains most of its data already."""

REPEATS_FROM: Final = 100_000
"""Bytes of JSON from which a payload gets that key. Temporal's command line shows payloads with additional metadata as
base64, so small payloads, which people read there, do without it."""

LEAST_RETRY_DELAY: Final = timedelta(milliseconds=1)
"""The shortest pause before another attempt. Temporal's server takes a delay of 0 for "no further attempt"."""


def to_raw(value: Any, *, repeats: bool = False) -> RawValue:
    """Encode JSON data, or a message of `stepgraph.protocol`, as a payload.

    Args:
        value: the data.
        repeats: whether the run's history contains most of the data already. External storage then takes the payload
            from `REPEATS_FROM` bytes on.
    """
    data = value.to_json_text() if isinstance(value, Data) else to_json(value)
    payload = Payload(metadata={"encoding": b"json/plain"}, data=data)
    if repeats and len(payload.data) >= REPEATS_FROM:
        payload.metadata[REPEATS] = b"true"
    return RawValue(payload)


def raw_json(text: bytes) -> RawValue:
    """Return JSON text as a payload."""
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=text))


def from_raw(raw: RawValue) -> Any:
    """Decode a payload's JSON data. `ValueError` if the payload is not JSON."""
    encoding = raw.payload.metadata.get("encoding", b"").decode()
    if encoding == "binary/null":
        return None
    if encoding not in ("json/plain", "json/protobuf"):
        raise ValueError(
            f"Expected a JSON payload, got one of encoding {encoding!r}. If a payload codec made it, this process "
            "lacks that codec."
        )
    return from_json(raw.payload.data, allow_inf_nan=False)


def argument_in(arguments: Sequence[Any]) -> Any:
    """Return the JSON data of the only argument of a signal, an update or a query; `None` if it has none.

    Raises:
        ValueError: there are several arguments, or the argument is not JSON data.
    """
    if len(arguments) > 1:
        raise ValueError(f"got {len(arguments)} arguments")
    argument = arguments[0] if arguments else None
    return from_raw(argument) if isinstance(argument, RawValue) else argument


def failure(
    message: str,
    *details: Any,
    type: str,
    stack_trace: str = "",
    non_retryable: bool = True,
    next_retry_delay: timedelta | None = None,
) -> FailureError:
    """Make the exception that an activity or a workflow raises to end with exactly this failure.

    A plain `ApplicationError` would do more: the SDK adds the traceback of its own frames, which the Web UI then shows,
    and every chained exception with its full text, which may exceed Temporal's size limit.

    Args:
        message: the failure's message.
        details: JSON data, one payload each.
        type: the failure's type, which retry policies and clients see.
        stack_trace: the text that the Web UI shows as the stack trace.
        non_retryable: whether Temporal makes no further attempt.
        next_retry_delay: the pause before the next attempt, at least `LEAST_RETRY_DELAY`; by default the activity's
            retry policy decides.
    """
    failure_data = Failure(message=message, stack_trace=stack_trace)
    info = failure_data.application_failure_info
    info.type, info.non_retryable = type, non_retryable
    info.details.payloads.extend(to_raw(detail).payload for detail in details)
    if next_retry_delay is not None:
        info.next_retry_delay.FromTimedelta(max(next_retry_delay, LEAST_RETRY_DELAY))
    error = FailureError(message, failure=failure_data)
    error.reported_by_stepgraph = True  # type: ignore[attr-defined]  # see `stepgraph.temporal.logs.quiet_sdk`
    return error
