"""Tests of the state cache: which states it evicts, and that its limit holds for real memory."""

from __future__ import annotations

import tracemalloc
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepgraph.serde.json_values import JsonValues
from stepgraph.temporal.state_cache import OVERHEAD, StateCache


def of_size(size: int) -> JsonValues:
    """Return values of so many bytes, the channel's name and the separators included."""
    return JsonValues({"text": b"x" * (size - len('"text":,'))})


def test_the_least_recently_used_states_are_evicted_first() -> None:
    """Reading a state counts as using it."""
    cache = StateCache(max_bytes=3 * OVERHEAD + 100)
    for n in range(4):
        cache.put(f"run-{n}", f"checkpoint-{n}", of_size(30))
        cache.get("run-0")
    assert [cache.get(f"run-{n}") is not None for n in range(4)] == [True, False, True, True]
    assert cache.bytes == 3 * OVERHEAD + 90


def test_a_run_has_one_cached_state() -> None:
    """A later state of a run replaces the earlier one in the cache."""
    cache = StateCache()
    for n in range(3):
        cache.put("run", f"checkpoint-{n}", of_size(30))
    cached = cache.get("run")
    assert cached is not None
    assert (cached.checkpoint_id, cache.bytes) == ("checkpoint-2", OVERHEAD + 30)


def test_a_state_larger_than_the_limit_is_not_cached() -> None:
    """Other runs' states stay. The run's earlier state is removed, because the run has moved on from it."""
    cache = StateCache(max_bytes=10_000)
    cache.put("small", "checkpoint-1", of_size(30))
    cache.put("run", "checkpoint-1", of_size(30))
    cache.put("run", "checkpoint-2", of_size(10_000))
    assert cache.get("run") is None
    assert cache.get("small") is not None
    assert cache.bytes == OVERHEAD + 30


def test_a_new_limit_takes_effect_at_once() -> None:
    """Resizing evicts states until the rest fits; a limit of 0 evicts all."""
    cache = StateCache()
    for n in range(3):
        cache.put(f"run-{n}", "checkpoint", of_size(30))
    cache.resize(2 * OVERHEAD + 60)
    assert [cache.get(f"run-{n}") is not None for n in range(3)] == [False, True, True]
    cache.resize(0)
    assert cache.bytes == 0


@given(
    limit=st.integers(0, 20_000),
    puts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9_000)), max_size=50),
)
def test_the_size_is_that_of_the_cached_states_and_within_the_limit(limit: int, puts: list[tuple[int, int]]) -> None:
    """For every limit, 0 included, the cache's size is the sum of its states and never above the limit."""
    cache = StateCache(max_bytes=limit)
    for run, size in puts:
        cache.put(f"run-{run}", "checkpoint", of_size(size))
        cached = [cache.get(f"run-{n}") for n in range(6)]
        assert cache.bytes == sum(state.size for state in cached if state is not None) <= limit


@pytest.mark.parametrize("items", [0, 3, 50, 5_000], ids=lambda items: f"{items} items")
def test_the_limit_holds_for_real_memory(items: int) -> None:
    """States of many small values count too. As Python objects they would take many times the size of their text."""
    limit = 2_000_000
    cache = StateCache(max_bytes=limit)
    tracemalloc.start()
    try:
        for n in range(2 * limit // (items * 12 + 100)):
            run = str(uuid.UUID(int=n))
            values = {f"key_{k}": {"a": [k], "b": n} for k in range(items)}
            cache.put(run, f"{run}.000001", JsonValues.of({"facts": values}))
        values = {}
        size = cache.bytes
        memory_with_cache, _ = tracemalloc.get_traced_memory()
        del cache
        memory_without_cache, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert limit / 2 < size <= limit
    assert memory_with_cache - memory_without_cache <= limit
