"""Retry policies: which failures of a node are retried, how often, and after how long."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from stepgraph.engine.spec import MAX_ATTEMPTS, RetrySpec
from stepgraph.errors import NodeTimeoutError, StepgraphError

MIN_SECONDS = 0.001
MAX_SECONDS = 10 * 366 * 86_400.0
"""The range of timeouts that Temporal accepts. An interval between attempts may also be 0."""

RetryOn = type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]
"""Which exceptions are retried: those of a type, those of several types, or those for which a function returns true."""

_NOT_RETRIED = (
    ArithmeticError,
    ImportError,
    LookupError,
    NameError,
    OSError,  # but ConnectionError is retried
    ReferenceError,
    RuntimeError,
    StepgraphError,
    StopAsyncIteration,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
)


def default_retry_on(error: Exception) -> bool:
    """Return whether a policy without ``retry_on`` retries an exception. The rule is LangGraph's.

    A `ConnectionError` is retried, and a `NodeTimeoutError`; of httpx's and requests' errors for an HTTP status, those
    for 5xx. Errors that the program or its data causes are not, nor are `OSError` (so neither `TimeoutError`) and
    `RuntimeError`. Everything else is.

    As in LangGraph, a ``requests.HTTPError`` is also retried if its response is missing or false, and requests makes
    every response false whose status is 400 or more.
    """
    if isinstance(error, ConnectionError | NodeTimeoutError):
        return True
    if _is_instance(error, "httpx", "HTTPStatusError"):
        return _is_server_error(error)
    if _is_instance(error, "requests", "HTTPError"):
        return _is_server_error(error) if getattr(error, "response", None) else True
    return not isinstance(error, _NOT_RETRIED)


class RetryPolicy(NamedTuple):
    """Which exceptions of a node are retried, and how often. A node without a policy fails at its first exception.

    An attempt whose worker was lost has not failed: another one is made in any case, and it does not count as one of
    ``max_attempts``. An attempt that exceeds the node's timeout counts, and is retried whatever ``retry_on`` says;
    without a policy such attempts are repeated for as long as it takes.
    """

    initial_interval: float = 0.5
    """Seconds before the first retry; 0 retries at once."""
    backoff_factor: float = 2.0
    """The factor by which the interval grows from one retry to the next."""
    max_interval: float = 128.0
    """The largest number of seconds between two attempts."""
    max_attempts: int = 3
    """How many attempts are made, the first included."""
    jitter: bool = True
    """Whether each interval is prolonged at random, by up to a quarter."""
    retry_on: RetryOn = default_retry_on
    """An exception type, several, or a function of the exception. Other exceptions fail the node at once."""

    def applies_to(self, error: Exception) -> bool:
        """Return whether the policy retries this exception."""
        if isinstance(self.retry_on, type):
            return isinstance(error, self.retry_on)
        if isinstance(self.retry_on, Sequence):
            return isinstance(error, tuple(self.retry_on))
        return self.retry_on(error)

    def spec(self) -> RetrySpec:
        """Return the part of the policy that is data, for the graph's spec.

        Raises:
            ValueError: a number is out of range, or ``retry_on`` is of another type than `RetryOn`.
        """
        if not (
            _is_number(self.max_attempts, 1, MAX_ATTEMPTS)
            and isinstance(self.max_attempts, int)
            and _is_number(self.initial_interval, 0, MAX_SECONDS)
            and _is_number(self.backoff_factor, 1, math.inf)
            and _is_number(self.max_interval, 0, MAX_SECONDS)
        ):
            raise ValueError(
                "RetryPolicy needs a whole number of max_attempts >= 1, backoff_factor >= 1, and intervals from 0 "
                f"to ten years, in seconds; got {self!r}"
            )
        types = self.retry_on if isinstance(self.retry_on, Sequence) else (self.retry_on,)
        if not all(_is_exception(each) or (each is self.retry_on and _is_function(each)) for each in types):
            raise ValueError(
                "RetryPolicy needs as retry_on an exception type, several, or a function of the exception; "
                f"got {self.retry_on!r}"
            )
        return RetrySpec(
            initial_interval=self.initial_interval,
            backoff_factor=self.backoff_factor,
            max_interval=max(self.max_interval, self.initial_interval),
            max_attempts=self.max_attempts,
            jitter=self.jitter,
        )


def delay_after_error(policies: Sequence[RetryPolicy], error: BaseException, attempt: int) -> float | None:
    """Return the seconds to wait after an attempt in which the node raised; `None` if no other is made.

    Args:
        policies: the node's retry policies. The first one that the error matches decides.
        error: what the node raised.
        attempt: how many attempts have failed, this one included.
    """
    if not isinstance(error, Exception):
        return None
    policy = next((each for each in policies if each.applies_to(error)), None)
    if policy is None or attempt >= policy.max_attempts:
        return None
    return delay_before(attempt + 1, policy.spec(), random.random())


def delay_after_timeout(policies: Sequence[RetryPolicy], attempt: int) -> float | None:
    """Return the seconds to wait after an attempt that exceeded the node's timeout; `None` if no other is made.

    Args:
        policies: the node's retry policies. The first one decides, whatever its ``retry_on``.
        attempt: how many attempts have failed, this one included.
    """
    without = RetryPolicy(initial_interval=1.0, max_interval=60.0, max_attempts=MAX_ATTEMPTS)
    policy = policies[0] if policies else without
    return delay_before(attempt + 1, policy.spec(), random.random()) if attempt < policy.max_attempts else None


def delay_before(attempt: int, retry: RetrySpec, random_number: float) -> float:
    """Return the seconds to wait before an attempt; attempt 2 is the first retry.

    Args:
        attempt: the number of the attempt.
        retry: the policy's data.
        random_number: from 0 to 1; decides how much jitter is added.
    """
    if retry.initial_interval == 0:
        return 0.0
    try:
        delay = min(retry.max_interval, retry.initial_interval * retry.backoff_factor ** (attempt - 2))
    except OverflowError:  # after some thousand attempts
        delay = retry.max_interval
    return delay * (1 + random_number / 4) if retry.jitter else delay


def _is_instance(error: Exception, module: str, name: str) -> bool:
    """Return whether an exception is of a type of a library. Nothing is imported: who raised it has done so."""
    exception_type = getattr(sys.modules.get(module), name, None)
    return isinstance(exception_type, type) and isinstance(error, exception_type)


def _is_server_error(error: Any) -> bool:
    status = getattr(error.response, "status_code", None)
    return isinstance(status, int) and 500 <= status < 600


def _is_number(value: object, minimum: float, maximum: float) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return minimum <= value <= maximum and value < math.inf


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, type)
