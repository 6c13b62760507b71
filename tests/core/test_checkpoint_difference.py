"""Tests of `Difference`: it turns one checkpoint's encoded values into another's, and contains only what changed."""

from __future__ import annotations

from operator import add, or_
from typing import Annotated, Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepgraph.engine._encoded_state import EncodedState
from stepgraph.engine.channels import Write
from stepgraph.engine.difference import Difference, difference
from stepgraph.execution.state_schema import StateSchema
from stepgraph.serde.equality import identical
from stepgraph.serde.json_values import JsonValues


def last_three(left: list[Any], right: list[Any]) -> list[Any]:
    return [*left, *right][-3:]


class State(TypedDict):
    log: Annotated[list[Any], add]
    last: Annotated[list[Any], last_three]
    facts: Annotated[dict[str, Any], or_]
    text: str


CHANNELS = StateSchema(State).channels

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
    """Return the values after each of these super-steps."""
    values: list[dict[str, Any]] = [CHANNELS.zeros()]
    for number, step in enumerate(steps):
        step_writes = [Write("node", name, CHANNELS[name].encode_write(value)) for name, value in step.items()]
        values.append(CHANNELS.fold(values[-1], step_writes, step=number))
    return values


@given(st.lists(writes, max_size=6))
def test_text_that_is_updated_equals_text_encoded_anew(steps: list[dict[str, Any]]) -> None:
    """`EncodedState` is updated from one checkpoint to the next, in both directions.

    Its text always equals that of a full encoding.
    """
    values = checkpoint_values(steps)
    encoded = EncodedState(CHANNELS, "the state")
    previous: dict[str, Any] = {}
    for current in [*values, *reversed(values)]:
        encoded.set_values(current, previous)
        assert encoded.values.to_data() == CHANNELS.encode(current)
        assert encoded.values.texts == JsonValues.of(CHANNELS.encode(current)).texts
        previous = current


@given(st.lists(writes, max_size=6), st.data())
def test_a_difference_leads_from_any_checkpoint_to_any_other(steps: list[dict[str, Any]], data: st.DataObject) -> None:
    """Sent as JSON and applied, a difference gives the exact text of the target, whether it is earlier or later."""
    values = checkpoint_values(steps)
    source, target = data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))
    restored = Difference.model_validate(difference(CHANNELS, source, target).to_json())
    result = restored.apply(JsonValues.of(CHANNELS.encode(source)))
    assert result.texts == JsonValues.of(CHANNELS.encode(target)).texts
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
    assert difference(CHANNELS, older, newer).to_json() == {
        "names": ["log", "last", "facts", "text"],
        "lists": {"log": {"keep": 100, "add": ["b"]}},
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
