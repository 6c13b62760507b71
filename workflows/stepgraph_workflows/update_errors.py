"""What an update raises: an error that its caller gets, or the request to send the update again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError, FailureError

from stepgraph.errors import StepgraphError, sendable
from stepgraph.protocol.names import UPDATE_NOT_READY
from stepgraph.protocol.thread_errors import fault_of
from stepgraph.temporal.payloads import to_raw


@contextmanager
def refusing() -> Iterator[None]:
    """Have an error refuse an update: what an update raises besides a Temporal failure fails its workflow task."""
    try:
        yield
    except StepgraphError as error:
        raise update_failure(error) from None
    except FailureError:
        raise
    except Exception as fault:
        raise update_failure(fault_of(fault)) from None


def not_ready(message: str) -> ApplicationError:
    """Return what an update raises that its client is to send again."""
    return ApplicationError(message, type=UPDATE_NOT_READY, non_retryable=True)


def update_failure(error: StepgraphError) -> ApplicationError:
    """Return what an update raises so that its caller gets the error."""
    return ApplicationError(
        sendable(error.message), to_raw(error.to_wire()), type=type(error).__name__, non_retryable=True
    )
