"""Tests of retries: which exceptions are retried, and after what delay."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepgraph import RetryPolicy
from stepgraph.errors import InvalidUpdateError, NodeError
from stepgraph.execution.retry import delay_before, is_transient


class HttpError(Exception):
    """An error with a response, as HTTP clients raise it."""

    def __init__(self, status: Any) -> None:
        self.response = type("Response", (), {"status_code": status})()


class HttpValueError(HttpError, ValueError):
    pass


TRANSIENT = [
    ConnectionError(),
    ConnectionResetError(),
    TimeoutError(),
    TimeoutError(),
    OSError("disk"),
    RuntimeError("unknown"),
    Exception("unknown"),
    HttpError(429),
    HttpError(500),
    HttpError(503),
    HttpValueError(502),
    subprocess.CalledProcessError(1, "x"),
]
PERMANENT = [
    ValueError(),
    TypeError(),
    KeyError("x"),
    IndexError(),
    ZeroDivisionError(),
    AssertionError(),
    AttributeError(),
    ImportError(),
    NameError(),
    NotImplementedError(),
    SyntaxError(),
    StopAsyncIteration(),
    json.JSONDecodeError("m", "d", 0),
    InvalidUpdateError("x"),
    NodeError("x"),
    HttpError(400),
    HttpError(404),
    HttpValueError("not a status"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_a_transient_error_is_retried_by_default(error: Exception) -> None:
    """An error is transient unless its type says that the program or its data is wrong."""
    assert is_transient(error)
    assert RetryPolicy().applies_to(error)


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_a_permanent_error_is_not_retried_by_default(error: Exception) -> None:
    """A programming error or an HTTP client error would be the same on the next attempt."""
    assert not is_transient(error)
    assert not RetryPolicy().applies_to(error)


@pytest.mark.parametrize(
    ("retry_on", "matching", "other"),
    [
        (ValueError, UnicodeDecodeError("utf-8", b"", 0, 0, "x"), KeyError()),
        ([ValueError, OSError], ConnectionError(), KeyError()),
        ((KeyError,), KeyError(), ValueError()),
        ([], None, ValueError()),
        (lambda error: "again" in str(error), RuntimeError("once again"), RuntimeError("no")),
    ],
)
def test_a_retry_policy_selects_exceptions(retry_on: Any, matching: Exception | None, other: Exception) -> None:
    """`retry_on` is an exception type, several types, or a function of the exception. Subclasses of a type count."""
    policy = RetryPolicy(retry_on=retry_on)
    assert policy.spec().max_attempts == 3
    assert matching is None or policy.applies_to(matching)
    assert not policy.applies_to(other)


def test_delays_grow_by_the_factor_up_to_the_maximum() -> None:
    """The delay before the second attempt is the initial interval; each further delay grows by the factor."""
    retry = RetryPolicy(initial_interval=1, backoff_factor=3, max_interval=20, jitter=False).spec()
    assert [delay_before(attempt, retry, 0.9) for attempt in (2, 3, 4, 5, 6)] == [1, 3, 9, 20, 20]


@given(
    attempt=st.integers(2, 2**31),
    initial=st.floats(0.001, 1e6),
    factor=st.floats(1, 1e6),
    max_interval=st.floats(0.001, 1e6),
    chance=st.floats(0, 1),
    jitter=st.booleans(),
)
def test_a_delay_stays_within_its_bounds(
    attempt: int, initial: float, factor: float, max_interval: float, chance: float, jitter: bool
) -> None:
    """A delay is at least the initial interval and at most the maximum plus a quarter of jitter, after any attempt."""
    retry = RetryPolicy(initial, factor, max_interval, 2**31 - 1, jitter).spec()
    delay = delay_before(attempt, retry, chance)
    assert initial <= delay <= max(max_interval, initial) * (1.25 if jitter else 1)


def test_an_initial_interval_above_the_maximum_raises_the_maximum() -> None:
    """The first retry comes after the chosen initial interval, even if that is above the maximum."""
    assert RetryPolicy(initial_interval=300, max_interval=128).spec().max_interval == 300
