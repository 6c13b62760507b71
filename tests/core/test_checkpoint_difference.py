"""Tests of `Difference`: it turns one checkpoint's encoded values into another's, and contains only what changed."""

from __future__ import annotations

from operator import add, or_
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepgraph import END, START, StateGraph
from stepgraph.engine._encoded_state import EncodedState
from stepgraph.engine.changes import Difference, difference
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.folding import Entry, fold
from stepgraph.serde.equality import identical
from stepgraph.serde.json_values import JsonValues
from tests.core.driving import with_changes


def last_three(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *right][-3:]


class State(TypedDict):
    log: Annotated[list[Any], add]
    last: Annotated[list[Any], last_three]
    facts: Annotated[dict[str, Any], or_]
    text: str


GRAPH = StateGraph(State).add_node("n", lambda state: None).add_edge(START, "n").add_edge("n", END).compile(name="g")
SPEC, CHANNELS = GRAPH.registry.spec, GRAPH.registry.schema.channels

items = st.lists(
    st.one_of(st.integers(0, 2), st.floats(0, 2), st.text("aé", max_size=2), st.just({"a": [1]})), max_size=3
)
writes = st.fixed_dictionaries(
    {},
    optional={
        "log": items,
        "last": items,
        "facts": st.dictionaries(st.sampled_from("ab"), items),
        "text": st.text("xy"),
    },
)


def checkpoint_values(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the values after each of these super-steps, as JSON data."""
    values: list[dict[str, Any]] = [CHANNELS.zeros()]
    for number, step in enumerate(steps):
        written = {name: CHANNELS[name].encode_write(value) for name, value in step.items()}
        result = with_changes(SPEC, CHANNELS, values[-1], "n", TaskResult(writes=(written,))).starting_from({})
        values.append(fold(SPEC, values[-1], {}, [Entry("n", "n", result)], {}, step=number))
    return values


@settings(deadline=None)
@given(st.lists(writes, max_size=6))
def test_text_that_is_updated_equals_text_encoded_anew(steps: list[dict[str, Any]]) -> None:
    """`EncodedState` is updated from one checkpoint to the next, in both directions.

    Its text always equals that of a full encoding.
    """
    values = checkpoint_values(steps)
    encoded = EncodedState("the state")
    previous: dict[str, Any] = {}
    for current in [*values, *reversed(values)]:
        encoded.set_values(current, previous)
        assert encoded.values.to_data() == current
        assert encoded.values.texts == JsonValues.of(current).texts
        previous = current


@settings(deadline=None)
@given(st.lists(writes, max_size=6), st.data())
def test_a_difference_leads_from_any_checkpoint_to_any_other(steps: list[dict[str, Any]], data: st.DataObject) -> None:
    """Sent as JSON and applied, a difference gives the exact text of the target, whether it is earlier or later."""
    values = checkpoint_values(steps)
    source, target = data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))
    restored = Difference.model_validate(difference(source, target).to_json())
    result = restored.apply(JsonValues.of(source))
    assert result.texts == JsonValues.of(target).texts
    assert list(result) == list(target)


def test_checkpoints_share_what_did_not_change() -> None:
    """A reducer may return a new container; the items in it that did not change are still the same objects."""
    older, newer = checkpoint_values(
        [{"last": [{"a": 1}, {"b": 2}], "facts": {"x": [1]}}, {"last": [{"c": 3}]}, {"facts": {"y": [2]}}]
    )[1::2]
    assert newer["last"] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert all(new is old for new, old in zip(newer["last"], older["last"], strict=False))
    assert newer["facts"]["x"] is older["facts"]["x"]


def test_a_difference_contains_only_what_changed() -> None:
    """A list that grew is recorded as the items added to it; a channel that did not change is left out."""
    older, newer = checkpoint_values([{"log": ["a"] * 100, "text": "x" * 1000}, {"log": ["b"]}])[1:]
    assert difference(older, newer).to_json() == {
        "names": ["log", "last", "facts", "text"],
        "changes": {"log": {"keep": 100, "items": ["b"]}},
    }


def test_a_difference_is_refused_for_values_without_its_channels() -> None:
    """Applying a difference to values that lack one of its channels raises a `LookupError`."""
    with pytest.raises(LookupError):
        Difference(names=("log", "text")).apply(JsonValues.of({"log": []}))


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 1.0), (0.0, -0.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([1], [True]), ({1}, {1.0})],
    ids=str,
)
def test_equal_values_with_different_json_are_not_identical(left: Any, right: Any) -> None:
    """`identical` tells apart values that Python finds equal but that have different JSON text."""
    assert left == right
    assert not identical(left, right)
