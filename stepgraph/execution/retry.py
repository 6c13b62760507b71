"""When a failed node is tried again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stepgraph.engine.spec import RetrySpec
from stepgraph.errors import StepgraphError

MIN_SECONDS = 0.001
MAX_SECONDS = 10 * 366 * 86_400.0
"""What Temporal can be told as an interval or a time-out."""

MAX_ATTEMPTS = 2**31 - 1

RetryOn = type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]

_NEVER_TRANSIENT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    NotImplementedError,
    ReferenceError,
    StepgraphError,
    StopAsyncIteration,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
)


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: yes, unless the exception says that the program or its data is wrong.

    An exception with an HTTP ``response`` counts as transient for status 429 and 5xx.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    if isinstance(error, ConnectionError | TimeoutError | asyncio.TimeoutError):
        return True
    return not isinstance(error, _NEVER_TRANSIENT)


class RetryPolicy(NamedTuple):
    """Which exceptions of a node are tried again by Temporal, and how often. Without one, a node fails at its first.

    A worker that crashes, or a timeout, is not a failure of the node: Temporal starts such an attempt again in any
    case, but with a policy it counts as one of ``max_attempts``.
    """

    initial_interval: float = 0.5
    """Seconds before the first retry."""
    backoff_factor: float = 2.0
    """By how much the interval grows from one retry to the next."""
    max_interval: float = 128.0
    """Seconds between two attempts at the most."""
    max_attempts: int = 3
    """Attempts in all, the first included."""
    jitter: bool = True
    """Whether each interval is lengthened by up to a quarter, at random."""
    retry_on: RetryOn = is_transient
    """An exception type, several, or a function of the exception; the others fail at once."""

    def names(self, error: Exception) -> bool:
        """Whether the policy has this exception tried again."""
        if isinstance(self.retry_on, type):
            return isinstance(error, self.retry_on)
        if isinstance(self.retry_on, Sequence):
            return isinstance(error, tuple(self.retry_on))
        return self.retry_on(error)

    def spec(self) -> RetrySpec:
        """The part of the policy that is data. `ValueError` for a policy that makes no sense."""
        if not (
            _is_number(self.max_attempts, 1, MAX_ATTEMPTS)
            and isinstance(self.max_attempts, int)
            and _is_number(self.initial_interval, MIN_SECONDS, MAX_SECONDS)
            and _is_number(self.backoff_factor, 1, math.inf)
            and _is_number(self.max_interval, MIN_SECONDS, MAX_SECONDS)
        ):
            raise ValueError(
                "RetryPolicy needs a whole number of max_attempts >= 1, backoff_factor >= 1, and intervals from a "
                f"millisecond to ten years, in seconds; got {self!r}"
            )
        kinds = self.retry_on if isinstance(self.retry_on, Sequence) else (self.retry_on,)
        if not all(_is_exception(kind) or (kind is self.retry_on and _is_function(kind)) for kind in kinds):
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


def pause_before(attempt: int, retry: RetrySpec, chance: float) -> float:
    """Seconds to wait before an attempt (2 is the first retry); ``chance`` is a random number from 0 to 1."""
    try:
        pause = min(retry.max_interval, retry.initial_interval * retry.backoff_factor ** (attempt - 2))
    except OverflowError:  # after some thousand attempts
        pause = retry.max_interval
    return pause * (1 + chance / 4) if retry.jitter else pause


def _is_number(value: object, least: float, most: float) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most and value < math.inf
    )


def _is_exception(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, type)
