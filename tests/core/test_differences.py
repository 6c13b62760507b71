"""What tells checkpoints apart: seen by identity, applied to text, equal to the whole whatever the reducers do."""

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


def checkpoints(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The values after each super-step."""
    values: list[dict[str, Any]] = [CHANNELS.zeros()]
    for number, step in enumerate(steps):
        written = [Write("node", name, CHANNELS[name].encode_write(value)) for name, value in step.items()]
        values.append(CHANNELS.fold(values[-1], written, step=number))
    return values


@given(st.lists(writes, max_size=6))
def test_text_that_grows_is_the_text_of_the_whole(steps: list[dict[str, Any]]) -> None:
    """Forwards one by one, and from anywhere to anywhere."""
    values = checkpoints(steps)
    encoded = EncodedState(CHANNELS, "the state")
    before: dict[str, Any] = {}
    for each in [*values, *reversed(values)]:
        encoded.set_values(each, before)
        assert encoded.values.to_data() == CHANNELS.encode(each)
        assert encoded.values.texts == JsonValues.of(CHANNELS.encode(each)).texts
        before = each


@given(st.lists(writes, max_size=6), st.data())
def test_a_difference_leads_from_any_checkpoint_to_any_other(steps: list[dict[str, Any]], data: st.DataObject) -> None:
    """Back as well as on, after the way through JSON."""
    values = checkpoints(steps)
    one, other = data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))
    found = Difference.model_validate(difference(CHANNELS, one, other).to_json())
    there = found.apply(JsonValues.of(CHANNELS.encode(one)))
    assert there.texts == JsonValues.of(CHANNELS.encode(other)).texts
    assert list(there) == list(other)


def test_checkpoints_share_what_did_not_change() -> None:
    """Also what an author's reducer has made anew: a thread's memory grows with what is written."""
    one, other = checkpoints(
        [{"last": [{"a": 1}, {"b": 2}], "facts": {"x": [1]}}, {"last": [{"c": 3}]}, {"facts": {"y": [2]}}]
    )[1::2]
    assert other["last"] == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert all(item is before for item, before in zip(other["last"], one["last"], strict=False))
    assert other["facts"]["x"] is one["facts"]["x"]


def test_a_difference_tells_only_what_differs() -> None:
    """Not the list that grew, nor what stayed as it was."""
    one, other = checkpoints([{"log": ["a"] * 100, "text": "x" * 1000}, {"log": ["b"]}])[1:]
    assert difference(CHANNELS, one, other).to_json() == {
        "names": ["log", "last", "facts", "text"],
        "lists": {"log": {"keep": 100, "add": ["b"]}},
    }


def test_a_difference_from_something_else_is_refused() -> None:
    """Rather than half applied."""
    with pytest.raises(LookupError):
        Difference(names=("log", "text")).apply(JsonValues.of({"log": []}))


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, 1.0), (0.0, -0.0), ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([1], [True]), ({1}, {1.0})],
    ids=str,
)
def test_what_is_equal_may_have_another_text(left: Any, right: Any) -> None:
    """So it is not shared."""
    assert left == right
    assert not identical(left, right)
