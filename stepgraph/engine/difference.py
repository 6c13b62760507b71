"""The difference between the values of two checkpoints of one run, as data.

No reducer runs when a difference is applied, so no user code can fail. Of a list whose beginning did not change, the
difference holds only the items after that. Items are compared by identity, because consecutive checkpoints share the
items that did not change (`stepgraph.engine.channels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from stepgraph.engine.channels import Channels
from stepgraph.serde.json_values import JsonValues


class Splice(BaseModel):
    """A list that begins like another one: the number of items to keep from it, then the items to add."""

    model_config = ConfigDict(frozen=True)

    keep: int
    add: list[Any] = []


class Difference(BaseModel):
    """What to change in one state's values to get another's.

    A channel in ``names`` that is neither in ``values`` nor in ``lists`` does not change.
    """

    model_config = ConfigDict(frozen=True)

    names: tuple[str, ...]
    """All channels that have a value afterwards, in the state's order."""
    values: dict[str, Any] = {}
    """New values by channel, as JSON data."""
    lists: dict[str, Splice] = {}
    """Changes of lists, by channel."""

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON data, without fields that have their default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def apply(self, before: JsonValues) -> JsonValues:
        """Return ``before`` with the difference applied.

        Raises:
            LookupError: ``before`` is not the state that the difference was made from.
        """
        texts = {}
        for name in self.names:
            if name in self.values:
                texts[name] = to_json(self.values[name])
            elif name in self.lists:
                splice = self.lists[name]
                texts[name] = to_json([*before[name][: splice.keep], *splice.add])
            else:
                texts[name] = before.texts[name]
        return JsonValues(texts)


def difference(channels: Channels, before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """Return the difference that turns the values ``before`` into the values ``after``."""
    values, lists = {}, {}
    for name, value in after.items():
        codec = channels[name].codec
        if name in before and value is before[name]:
            continue
        keep = common_prefix_length(value, before[name]) if name in before and codec.concatenates else 0
        if keep:
            lists[name] = Splice(keep=keep, add=codec.dump(value[keep:]))
        else:
            values[name] = codec.dump(value)
    return Difference(names=tuple(after), values=values, lists=lists)


def common_prefix_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return how many items at the beginning of two lists are the same objects."""
    count = 0
    for left_item, right_item in zip(left, right, strict=False):
        if left_item is not right_item:
            break
        count += 1
    return count
