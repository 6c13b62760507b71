"""When a failed node is tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from stepgraph.errors import StepgraphError
from stepgraph.spec import RetrySpec

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
        """The part of the policy that is data. `ValueError` for numbers that make no sense."""
        if self.max_attempts < 1 or self.initial_interval <= 0 or self.backoff_factor < 1 or self.max_interval <= 0:
            raise ValueError(
                "RetryPolicy needs max_attempts >= 1, initial_interval > 0, backoff_factor >= 1 and max_interval > 0; "
                f"got {self!r}"
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
    pause = min(retry.max_interval, retry.initial_interval * retry.backoff_factor ** (attempt - 2))
    return pause * (1 + chance / 4) if retry.jitter else pause
