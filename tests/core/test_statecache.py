"""What a process keeps of states, and that its bound is one of real memory."""

from __future__ import annotations

import tracemalloc
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepgraph.execution.state_cache import OVERHEAD, StateCache
from stepgraph.serde.json_values import JsonValues


def of_size(size: int) -> JsonValues:
    """Values of so many bytes."""
    return JsonValues({"text": b"x" * size})


def test_the_states_not_used_for_longest_go_first() -> None:
    """Reading is using."""
    cache = StateCache(max_bytes=3 * OVERHEAD + 100)
    for n in range(4):
        cache.put(f"run-{n}", f"checkpoint-{n}", of_size(30))
        cache.get("run-0")
    assert [cache.get(f"run-{n}") is not None for n in range(4)] == [True, False, True, True]
    assert cache.bytes == 3 * OVERHEAD + 90


def test_a_run_has_one_state_here() -> None:
    """A later one takes its place."""
    cache = StateCache()
    for n in range(3):
        cache.put("run", f"checkpoint-{n}", of_size(30))
    kept = cache.get("run")
    assert kept is not None
    assert (kept.checkpoint_id, cache.bytes) == ("checkpoint-2", OVERHEAD + 30)


def test_a_state_larger_than_the_bound_is_not_kept_and_costs_no_other() -> None:
    """What the run had here goes: it is not what it works from any more."""
    cache = StateCache(max_bytes=10_000)
    cache.put("small", "checkpoint-1", of_size(30))
    cache.put("run", "checkpoint-1", of_size(30))
    cache.put("run", "checkpoint-2", of_size(10_000))
    assert cache.get("run") is None
    assert cache.get("small") is not None
    assert cache.bytes == OVERHEAD + 30


def test_another_bound_holds_at_once() -> None:
    """Down to nothing."""
    cache = StateCache()
    for n in range(3):
        cache.put(f"run-{n}", "checkpoint", of_size(30))
    cache.resize(2 * OVERHEAD + 60)
    assert [cache.get(f"run-{n}") is not None for n in range(3)] == [False, True, True]
    cache.resize(0)
    assert cache.bytes == 0


@given(
    bound=st.integers(0, 20_000),
    puts=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9_000)), max_size=50),
)
def test_the_bytes_are_those_of_what_is_kept(bound: int, puts: list[tuple[int, int]]) -> None:
    """And never more than the bound, zero included."""
    cache = StateCache(max_bytes=bound)
    for run, size in puts:
        cache.put(f"run-{run}", "checkpoint", of_size(size))
        kept = [cache.get(f"run-{n}") for n in range(6)]
        assert cache.bytes == sum(each.size for each in kept if each is not None) <= bound


@pytest.mark.parametrize("items", [0, 3, 50, 5_000], ids=lambda items: f"{items} items")
def test_the_bound_is_one_of_memory(items: int) -> None:
    """States of many small values, whose Python objects would take many times their text."""
    bound = 2_000_000
    cache = StateCache(max_bytes=bound)
    tracemalloc.start()
    try:
        for n in range(2 * bound // (items * 12 + 100)):
            run = str(uuid.UUID(int=n))
            values = {f"key_{k}": {"a": [k], "b": n} for k in range(items)}
            cache.put(run, f"{run}.000001", JsonValues.of({"facts": values}))
        values = {}
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert bound / 2 < cache.bytes <= bound
    assert taken <= bound
