"""Which exceptions are tried again, and after how long."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepgraph import RetryPolicy
from stepgraph.errors import InvalidUpdateError, NodeError
from stepgraph.execution.retry import is_transient, pause_before


class HttpError(Exception):
    """As HTTP clients raise them."""

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
    RuntimeError("who knows"),
    Exception("who knows"),
    HttpError(429),
    HttpError(500),
    HttpError(503),
    HttpValueError(502),
    subprocess.CalledProcessError(1, "x"),
]
LASTING = [
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
    HttpValueError("no number"),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_may_pass_by_itself_is_tried_again(error: Exception) -> None:
    """By default: whatever does not say that the program or its data is wrong."""
    assert is_transient(error)
    assert RetryPolicy().names(error)


@pytest.mark.parametrize("error", LASTING, ids=repr)
def test_what_will_not_pass_is_not(error: Exception) -> None:
    """A mistake is the same the second time."""
    assert not is_transient(error)
    assert not RetryPolicy().names(error)


@pytest.mark.parametrize(
    ("retry_on", "named", "not_named"),
    [
        (ValueError, UnicodeDecodeError("utf-8", b"", 0, 0, "x"), KeyError()),
        ([ValueError, OSError], ConnectionError(), KeyError()),
        ((KeyError,), KeyError(), ValueError()),
        ([], None, ValueError()),
        (lambda error: "again" in str(error), RuntimeError("once again"), RuntimeError("no")),
    ],
)
def test_a_policy_names_exceptions(retry_on: Any, named: Exception | None, not_named: Exception) -> None:
    """By a type, several, or a function of the exception; subclasses count."""
    policy = RetryPolicy(retry_on=retry_on)
    assert policy.spec().max_attempts == 3
    assert named is None or policy.names(named)
    assert not policy.names(not_named)


def test_pauses_grow_up_to_the_longest() -> None:
    """Each by the factor; the first is before the second attempt."""
    retry = RetryPolicy(initial_interval=1, backoff_factor=3, max_interval=20, jitter=False).spec()
    assert [pause_before(attempt, retry, 0.9) for attempt in (2, 3, 4, 5, 6)] == [1, 3, 9, 20, 20]


@given(
    attempt=st.integers(2, 2**31),
    initial=st.floats(0.001, 1e6),
    factor=st.floats(1, 1e6),
    longest=st.floats(0.001, 1e6),
    chance=st.floats(0, 1),
    jitter=st.booleans(),
)
def test_a_pause_stays_within_its_bounds(
    attempt: int, initial: float, factor: float, longest: float, chance: float, jitter: bool
) -> None:
    """Never shorter than the first, never longer than the longest and a quarter, after however many attempts."""
    retry = RetryPolicy(initial, factor, longest, 2**31 - 1, jitter).spec()
    pause = pause_before(attempt, retry, chance)
    assert initial <= pause <= max(longest, initial) * (1.25 if jitter else 1)


def test_a_first_interval_beyond_the_longest_is_the_longest() -> None:
    """The first retry comes when the author said."""
    assert RetryPolicy(initial_interval=300, max_interval=128).spec().max_interval == 300
