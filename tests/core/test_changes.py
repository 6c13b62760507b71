"""Properties of `Change`: applied, it gives exactly the later value, and it is small where little changed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from stepgraph.engine.changes import (
    NOTHING,
    SHORT_TEXT,
    Change,
    Difference,
    Patch,
    Removal,
    Replacement,
    Splice,
    Suffix,
    Written,
    change_of,
    common_prefix_length,
    difference,
    without_write,
)
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.serde.equality import identical
from stepgraph.serde.json_values import JsonValues
from stepgraph.serde.plain_json import json_size

CHANGE: TypeAdapter[Change] = TypeAdapter(Change)

long_texts = st.builds(lambda text, count: text * count, st.text(min_size=1, max_size=3), st.integers(1, 200))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 0.0, -0.0, 1, 1.0, True, ""])
    | st.text(max_size=3)
    | long_texts
)
keys = st.sampled_from(["a", "b", "c", "keep", "items", "set", "delete", "value", "removed", "text", "v"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def edited(draw: st.DrawFn, value: Any) -> Any:
    """Draws a value that is like another one, except in some place."""
    if draw(st.booleans()):
        return value
    if isinstance(value, list):
        at = draw(st.integers(0, len(value)))
        return [*value[:at], *draw(st.lists(values, max_size=2)), *value[at + draw(st.integers(0, 2)) :]]
    if isinstance(value, dict):
        kept = {key: draw(edited(item)) for key, item in value.items() if draw(st.integers(0, 3))}
        order = draw(st.permutations(list(kept))) if draw(st.booleans()) else list(kept)
        return {key: kept[key] for key in order} | draw(st.dictionaries(keys, values, max_size=2))
    if isinstance(value, str):
        return value[: draw(st.integers(0, len(value)))] + draw(st.text(max_size=3))
    return draw(values)


pairs = st.tuples(values, values) | values.flatmap(lambda before: st.tuples(st.just(before), edited(before)))


def sent(change: Change) -> Change:
    """Return a change as another process receives it."""
    assert json.loads(to_json(change)) == from_json(to_json(change))
    return CHANGE.validate_json(CHANGE.dump_json(change, exclude_defaults=True))


@settings(max_examples=600, deadline=None)
@given(pair=pairs)
@example(pair=({"a": 1, "b": 2}, {"b": 2, "a": 1}))
@example(pair=({"a": 1, "b": 2}, {"a": 1, "c": 3, "b": 2}))
@example(pair=({"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 3, "b": 2}))
@example(pair=([0.0, 1], [-0.0, 1.0]))
@example(pair=([1, 2, 3], [1]))
@example(pair=([], []))
@example(pair=({}, {}))
@example(pair=({"a": 1}, {}))
@example(pair=("x" * 100, "x" * 80))
@example(pair=({"a": None}, {"a": {"a": None}}))
@example(pair=(None, {"keep": 3, "items": []}))
@example(pair=(None, {"value": 1}))
@example(pair=({"value": 0, "x": 1}, {"value": 1, "x": 1}))
def test_a_change_leads_from_one_value_to_the_other(pair: tuple[Any, Any]) -> None:
    """Also after it was sent as JSON. Types, the sign of zero and the order of keys are those of the later value."""
    before, after = pair
    texts = to_json(before), to_json(after)
    change = change_of(before, after)
    assert identical(change.apply(before), after)
    assert sent(change) == change
    assert type(sent(change)) is type(change)
    assert identical(sent(change).apply(before), after)
    assert (to_json(before), to_json(after)) == texts


@settings(max_examples=200, deadline=None)
@given(value=values)
def test_a_value_may_appear_and_disappear(value: Any) -> None:
    """A change from nothing contains the whole value, a change to nothing has none."""
    appears, disappears = change_of(NOTHING, value), change_of(value, NOTHING)
    assert identical(sent(appears).apply(NOTHING), value)
    assert sent(disappears) == disappears == Removal(removed=True)
    assert sent(disappears).apply(value) is NOTHING
    assert change_of(NOTHING, NOTHING).apply(NOTHING) is NOTHING


@settings(max_examples=300, deadline=None)
@given(pair=pairs)
def test_a_change_costs_hardly_more_than_the_later_value(pair: tuple[Any, Any]) -> None:
    """Where little is shared, the change contains the value and a few bytes, and never the earlier value."""
    before, after = pair
    change = change_of(before, after)
    deleted = json_size(list(change.delete)) if isinstance(change, Patch) else 0
    assert json_size(change) <= json_size(after) + deleted + 40


@settings(max_examples=200, deadline=None)
@given(before=st.dictionaries(st.text(max_size=3), values, max_size=4), data=st.data())
def test_a_difference_of_states_survives_json(before: dict[str, Any], data: st.DataObject) -> None:
    """Channels with and without a change come back, in their order, with their exact text."""
    after = {name: data.draw(edited(value)) for name, value in before.items() if data.draw(st.integers(0, 4))}
    after |= data.draw(st.dictionaries(st.text(max_size=3), values, max_size=2))
    restored = Difference.model_validate_json(difference(before, after).to_json_text())
    assert restored == Difference.model_validate(difference(before, after).to_json()) == difference(before, after)
    applied = restored.apply(JsonValues.of(before))
    assert applied.texts == JsonValues.of(after).texts
    assert list(applied) == list(after)


@settings(max_examples=100, deadline=None)
@given(changes=st.dictionaries(keys, pairs.map(lambda pair: change_of(*pair)), max_size=3))
def test_the_changes_in_a_result_survive_json(changes: dict[str, Change]) -> None:
    """A task's result is read as it was written, whatever keys the values have."""
    result = TaskResult(changes=changes)
    assert TaskResult.model_validate_json(result.to_json_text()) == result
    assert TaskResult.model_validate(from_json(to_json(result.to_json()))) == result


def test_a_merge_into_a_large_mapping_costs_what_was_written() -> None:
    """Three keys of 2,000 are set: one new, two with new values. The change has these three."""
    before = {f"key {number}": {"number": number, "text": "x" * 50} for number in range(2_000)}
    write = {"key 7": "seven", "key 1999": None, "new": [1]}
    change = change_of(before, {**before, **write})
    assert change == Patch(set=write)
    assert json_size(change) < json_size(write) + 20
    without = {key: item for key, item in before.items() if key != "key 7"}
    assert change_of(before, without) == Patch(delete=("key 7",))


def test_an_item_appended_to_a_large_list_costs_that_item() -> None:
    """The change has the number of items to keep; so has one that drops the last item, or replaces it."""
    before = [{"id": number, "text": "x" * 50} for number in range(2_000)]
    assert change_of(before, [*before, {"id": 2_000}]) == Splice(keep=2_000, items=[{"id": 2_000}])
    assert change_of(before, before[:-1]) == Splice(keep=1_999)
    assert change_of(before, [*before[:-1], {"id": -1}]) == Splice(keep=1_999, items=[{"id": -1}])
    assert json_size(change_of(before, [*before, {"id": 2_000}])) < 40


def test_a_text_that_grew_costs_what_was_appended() -> None:
    """Ten characters after 10,000. Texts that share little are replaced."""
    before = "é🙂" * 5_000
    change = change_of(before, f"{before}0123456789")
    assert change == Suffix(keep=10_000, text="0123456789")
    assert json_size(change) < 50
    for length, kind in ((SHORT_TEXT, Suffix), (SHORT_TEXT - 1, Replacement)):
        assert type(change_of("x" * length, "x" * length + "y")) is kind


def test_what_did_not_change_is_the_same_object_afterwards() -> None:
    """Consecutive checkpoints share it, so that a long run costs little memory."""
    kept, before = {"deep": [1]}, [{"a": 1}]
    assert change_of([kept], [kept, 2]).apply([kept])[0] is kept
    assert change_of({"x": kept, "y": before}, {"x": kept, "y": 2}).apply({"x": kept, "y": before})["x"] is kept


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (Splice(keep=2, items=[3]), [1]),
        (Splice(keep=0), {}),
        (Splice(keep=0), NOTHING),
        (Patch(delete=("a",)), {"b": 1}),
        (Patch(set={"a": 1}), NOTHING),
        (Patch(set={"a": 1}), []),
        (Suffix(keep=2, text="c"), "a"),
        (Suffix(keep=0, text="c"), None),
    ],
    ids=[f"{number}" for number in range(8)],
)
def test_a_change_is_refused_for_another_value_than_the_one_it_was_made_from(change: Change, wrong: Any) -> None:
    """A change of a list needs a list that is long enough, one of a mapping the keys that it deletes."""
    with pytest.raises(LookupError, match="expected"):
        change.apply(wrong)


def test_only_identical_items_are_common() -> None:
    """An int and an equal float have other JSON text; so have two orders of keys."""
    left = [1, {"a": 1, "b": 2}, math.pi, 0.0]
    assert common_prefix_length(left, [1, {"a": 1, "b": 2}, math.pi, -0.0]) == 3
    assert common_prefix_length(left, [1, {"b": 2, "a": 1}]) == 1
    assert common_prefix_length(left, [1.0]) == 0
    assert common_prefix_length(left, []) == 0


@pytest.mark.parametrize(
    ("before", "write", "after", "stored"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, Written(written="set")),
        ([1], [2, 3], [1, 2, 3], Written(written="items", keep=1)),
        (1, 5, 5, Written(written="value")),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 3}, None),
        ({"a": 1, "c": 1}, {"b": 2}, {"a": 1, "b": 2}, None),
        ([1, 2], [3], [1, 3], Written(written="items", keep=1)),
        ([1], [1], [1], None),
    ],
)
def test_a_change_that_only_brings_the_write_does_not_repeat_it(
    before: Any, write: Any, after: Any, stored: Written | None
) -> None:
    """A task's result then has the data once, as its write; the change comes back from there."""
    change = change_of(before, after)
    short = without_write(change, write)
    assert short == (change if stored is None else stored)
    again = TaskResult.model_validate(TaskResult(writes=({"c": write},), changes={"c": short}).to_json()).change("c")
    assert again is not None
    assert again.apply(before) == after
