"""Changes of JSON data, as data: how one value becomes another, and one checkpoint's values those of the next.

A change is small where little changed: of a list that begins like the former one it has the items after that, of a
mapping the keys that were set and deleted, of a text what follows the common beginning. Applying one runs no code of
the graph. What a change leaves as it was is the same object afterwards, so consecutive checkpoints share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field
from pydantic_core import to_json

from stepgraph.serde.equality import identical
from stepgraph.serde.formats import Data
from stepgraph.serde.json_values import JsonValues

NOTHING: Any = object()
"""Stands for the value of a channel that has none, since `None` may be a value."""

SHORT_TEXT = 64
"""Characters that two texts must have in common before a change refers to them."""


class Replacement(Data):
    """Another value."""

    value: Any

    def apply(self, before: Any) -> Any:
        """Return the other value."""
        return self.value


class Splice(Data):
    """A list that begins like the former one."""

    keep: int
    """The number of items to keep."""
    items: list[Any] = []
    """The items that follow them."""

    def apply(self, before: Any) -> Any:
        """Return the new list. `LookupError` if ``before`` is not the list that the change was made from."""
        if not isinstance(before, list) or len(before) < self.keep:
            raise LookupError(f"a list of {self.keep} items or more was expected")
        return [*before[: self.keep], *self.items]


class Patch(Data):
    """A mapping with some keys set and some deleted. A new key comes last."""

    set: dict[str, Any] = {}
    delete: tuple[str, ...] = ()

    def apply(self, before: Any) -> Any:
        """Return the new mapping. `LookupError` if ``before`` is not the mapping that the change was made from."""
        if not isinstance(before, dict) or any(name not in before for name in self.delete):
            raise LookupError("another mapping was expected")
        kept = {name: item for name, item in before.items() if name not in self.delete} if self.delete else before
        return {**kept, **self.set}


class Suffix(Data):
    """A text that begins like the former one."""

    keep: int
    """The number of characters to keep."""
    text: str

    def apply(self, before: Any) -> Any:
        """Return the new text. `LookupError` if ``before`` is not the text that the change was made from."""
        if not isinstance(before, str) or len(before) < self.keep:
            raise LookupError(f"a text of {self.keep} characters or more was expected")
        return before[: self.keep] + self.text


class Removal(Data):
    """No value any more."""

    removed: Literal[True] = Field(...)

    def apply(self, before: Any) -> Any:
        """Return `NOTHING`."""
        return NOTHING


Change = Replacement | Suffix | Splice | Patch | Removal
"""How a value becomes another one. Each kind has other fields, which tell them apart as JSON data."""


class Written(Data):
    """A change that takes the task's only write as it is: a merge of its keys, say. The write is not stored twice."""

    written: Literal["value", "items", "set"]
    """What the write is: the new value, the items of a `Splice`, or the keys that a `Patch` sets."""
    keep: int = 0
    """The number of items to keep, for a `Splice`."""

    def with_write(self, write: Any) -> Change:
        """Return the change."""
        if self.written == "value":
            return Replacement(value=write)
        return Splice(keep=self.keep, items=write) if self.written == "items" else Patch(set=write)


def without_write(change: Change, write: Any) -> Change | Written:
    """Return a change as `Written`, if all that it brings is the write; otherwise the change itself."""
    if isinstance(change, Replacement) and identical(change.value, write):
        return Written(written="value")
    if isinstance(change, Splice) and identical(change.items, write):
        return Written(written="items", keep=change.keep)
    if isinstance(change, Patch) and not change.delete and identical(change.set, write):
        return Written(written="set")
    return change


def change_of(before: Any, after: Any) -> Change:
    """Return the change that turns ``before`` into ``after``; both are JSON data or `NOTHING`."""
    if after is NOTHING:
        return Removal(removed=True)
    if isinstance(before, list) and isinstance(after, list):
        if keep := common_prefix_length(before, after):
            return Splice(keep=keep, items=after[keep:])
    elif isinstance(before, dict) and isinstance(after, dict):
        if (patch := _patch(before, after)) is not None:
            return patch
    elif isinstance(before, str) and isinstance(after, str):
        keep = _common_text(before, after)
        if keep >= SHORT_TEXT:
            return Suffix(keep=keep, text=after[keep:])
    return Replacement(value=after)


def common_prefix_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Return how many items at the beginning of two lists are identical. Items that are one object cost nothing."""
    count = 0
    for left_item, right_item in zip(left, right, strict=False):
        if not identical(left_item, right_item):
            break
        count += 1
    return count


def _patch(before: dict[str, Any], after: dict[str, Any]) -> Patch | None:
    """Return the patch between two mappings; `None` if it would be no smaller, or would leave the keys in disorder."""
    changed = {name: item for name, item in after.items() if name not in before or not identical(item, before[name])}
    deleted = tuple(name for name in before if name not in after)
    in_order = [*(name for name in before if name in after), *(name for name in after if name not in before)]
    if len(changed) == len(after) or in_order != list(after):
        return None
    return Patch(set=changed, delete=deleted)


def _common_text(left: str, right: str) -> int:
    """Return how many characters at the beginning of two texts are equal."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Difference(Data):
    """What to change in one state's values to get another's. A channel without a change has the same value in both."""

    names: tuple[str, ...]
    """All channels that have a value afterwards, in their order."""
    changes: dict[str, Change] = {}
    """By channel."""

    def apply(self, before: JsonValues) -> JsonValues:
        """Return ``before`` with the difference applied.

        Raises:
            LookupError: ``before`` is not the state that the difference was made from.
        """
        texts = {}
        for name in self.names:
            change = self.changes.get(name)
            if change is None:
                texts[name] = before.texts[name]
            elif isinstance(change, Replacement):
                texts[name] = to_json(change.value)
            else:
                texts[name] = to_json(change.apply(before[name]))
        return JsonValues(texts)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Difference:
    """Return the difference that turns the values ``before`` into the values ``after``, both JSON data by channel."""
    return Difference(
        names=tuple(after),
        changes={
            name: change_of(before.get(name, NOTHING), value)
            for name, value in after.items()
            if name not in before or value is not before[name]
        },
    )
