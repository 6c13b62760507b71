"""Tests of retries: which exceptions are retried, and after what delay."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, TypedDict

import httpx
import langgraph.types
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from stepgraph import START, CompiledGraph, RetryPolicy, StateGraph
from stepgraph.errors import InvalidUpdateError, NodeError, ReducerError
from stepgraph.execution.retry import default_retry_on, delay_before
from stepgraph.testing import MemoryRunner


class State(TypedDict, total=False):
    text: str


def response(status: int) -> requests.Response:
    """Return a response of requests, which is false if its status is 400 or more."""
    answer = requests.Response()
    answer.status_code = status
    return answer


def httpx_error(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://x")
    return httpx.HTTPStatusError("x", request=request, response=httpx.Response(status, request=request))


RETRIED = [
    ConnectionError(),
    ConnectionResetError(),
    Exception("unknown"),
    AssertionError(),
    AttributeError(),
    ExceptionGroup("several", [ValueError()]),
    subprocess.CalledProcessError(1, "x"),
    httpx_error(500),
    httpx_error(599),
    httpx.ConnectError("x"),
    httpx.ReadTimeout("x"),
    requests.HTTPError(),
    requests.HTTPError(response=response(503)),
    requests.HTTPError(response=response(404)),
]
FINAL = [
    ValueError(),
    TypeError(),
    KeyError("x"),
    IndexError(),
    ZeroDivisionError(),
    ImportError(),
    NameError(),
    NotImplementedError(),
    RuntimeError("unknown"),
    RecursionError(),
    OSError("disk"),
    FileNotFoundError(),
    TimeoutError(),
    ReferenceError(),
    SyntaxError(),
    StopIteration(),
    StopAsyncIteration(),
    json.JSONDecodeError("m", "d", 0),
    httpx_error(400),
    httpx_error(429),
    requests.HTTPError(response=response(200)),
    requests.ConnectionError(),
    requests.Timeout(),
]
OURS = [InvalidUpdateError("x"), NodeError("x"), ReducerError("x")]


@pytest.mark.parametrize("error", [*RETRIED, *FINAL], ids=repr)
def test_the_default_retries_what_langgraph_retries(error: Exception) -> None:
    """A policy without `retry_on` decides as LangGraph's, also about errors of httpx and requests."""
    assert default_retry_on(error) == langgraph.types.default_retry_on(error)
    assert RetryPolicy().applies_to(error) == (error in RETRIED)


@pytest.mark.parametrize("error", OURS, ids=repr)
def test_an_error_of_stepgraph_is_not_retried_by_default(error: Exception) -> None:
    """The engine refuses the same values again on the next attempt."""
    assert not RetryPolicy().applies_to(error)


def test_the_default_imports_no_http_library() -> None:
    """Where neither httpx nor requests is loaded, no exception can be one of theirs."""
    program = (
        "import sys; from stepgraph.execution.retry import default_retry_on; "
        "assert default_retry_on(Exception()); assert not {'httpx', 'requests'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_numbers_of_a_policy_are_langgraphs() -> None:
    """A policy has LangGraph's fields, in LangGraph's order, with its default values."""
    ours, theirs = RetryPolicy()._asdict(), langgraph.types.RetryPolicy()._asdict()
    assert list(ours) == list(theirs)
    assert {**ours, "retry_on": None} == {**theirs, "retry_on": None}


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
    initial=st.just(0.0) | st.floats(0.001, 1e6),
    factor=st.floats(1, 1e6),
    max_interval=st.just(0.0) | st.floats(0.001, 1e6),
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


def test_an_initial_interval_of_zero_retries_at_once() -> None:
    """As in LangGraph, an interval may be 0, which stays 0 whatever the factor and the number of the attempt."""
    retry = RetryPolicy(initial_interval=0.0).spec()
    assert [delay_before(attempt, retry, 1.0) for attempt in (2, 3, 2**31 - 1)] == [0.0, 0.0, 0.0]


def graph_failing(times: int, policy: RetryPolicy) -> CompiledGraph:
    """Return a graph whose one node raises `ConnectionError` so many times before it succeeds."""
    errors = [ConnectionError("no route") for _ in range(times)]

    def fetch(state: State) -> State:
        if errors:
            raise errors.pop()
        return {"text": "fetched"}

    builder = StateGraph(State).add_node("fetch", fetch, retry_policy=policy).add_edge(START, "fetch")
    return builder.compile(name="fetching")


def test_in_memory_a_node_is_retried_as_its_policy_says() -> None:
    """`MemoryRunner` runs a node again after the exceptions that its retry policy names."""
    runner = MemoryRunner(graph_failing(2, RetryPolicy(initial_interval=0, max_attempts=3)))
    assert runner.invoke({}, {"configurable": {"thread_id": "t"}}) == {"text": "fetched"}


def test_in_memory_a_node_fails_after_the_last_attempt_of_its_policy() -> None:
    """`MemoryRunner` makes as many attempts as the retry policy allows, and the error says how many."""
    runner = MemoryRunner(graph_failing(3, RetryPolicy(initial_interval=0, max_attempts=2)))
    with pytest.raises(NodeError) as failure:
        runner.invoke({}, {"configurable": {"thread_id": "t"}})
    assert failure.value.attempts == 2
