"""What tells one checkpoint's values from another's, as data: no reducer is needed to go from one to the other.

Of a list only what differs is told, seen by identity: checkpoints share the items that they have in common
(`stepgraph.engine.channels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from stepgraph.engine.channels import Channels
from stepgraph.serde.json_values import JsonValues


class Splice(BaseModel):
    """A list made of another: its first items, then some of its own."""

    model_config = ConfigDict(frozen=True)

    keep: int
    add: list[Any] = []


class Difference(BaseModel):
    """From some values to others. A channel that is in ``names`` alone is the same in both."""

    model_config = ConfigDict(frozen=True)

    names: tuple[str, ...]
    """All channels that have a value afterwards, in order."""
    values: dict[str, Any] = {}
    """JSON data."""
    lists: dict[str, Splice] = {}

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def apply(self, before: JsonValues) -> JsonValues:
        """The other values; a `LookupError` if ``before`` is not what this was made from."""
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
    """What leads from the values of one checkpoint to those of another of the same run."""
    values, lists = {}, {}
    for name, value in after.items():
        codec = channels[name].codec
        if name in before and value is before[name]:
            continue
        kept = common_start(value, before[name]) if name in before and codec.concatenates else 0
        if kept:
            lists[name] = Splice(keep=kept, add=codec.dump(value[kept:]))
        else:
            values[name] = codec.dump(value)
    return Difference(names=tuple(after), values=values, lists=lists)


def common_start(left: Sequence[Any], right: Sequence[Any]) -> int:
    """How many of the first items of two lists are the very same objects."""
    count = 0
    for one, other in zip(left, right, strict=False):
        if one is not other:
            break
        count += 1
    return count
