"""Joins, and the keys that name in a checkpoint what leads to a node: a join, or the node's edges."""

from __future__ import annotations

import re

from stepgraph.serde.formats import Data


class JoinSpec(Data):
    """``add_edge([a, b], c)``: the target is triggered once all sources have finished. Then the join begins again."""

    sources: tuple[str, ...]
    target: str

    @property
    def key(self) -> str:
        """The join's key in `Checkpoint.joins`: ``a+b>c``.

        A ``+`` or ``>`` in a node's name is preceded by ``|``, which no node's name may contain.
        """
        return f"{'+'.join(map(_escaped, self.sources))}>{_escaped(self.target)}"


def edge_key(node: str) -> str:
    """Return the key in `Checkpoint.deferred` of what leads to a node without a join. No join has this key."""
    return _escaped(node)


def node_of_edge_key(key: str) -> str:
    """Return the node of an edge key."""
    return _unescaped(key)


def is_join_key(key: str) -> bool:
    """Return whether a key is that of a join, and not an edge key."""
    return re.search(r"(?<!\|)>", key) is not None


def join_of_key(key: str) -> JoinSpec:
    """Return the join that has a key."""
    parts = re.split(r"(?<!\|)[+>]", key)
    names = [_unescaped(part) for part in parts]
    return JoinSpec(sources=tuple(names[:-1]), target=names[-1])


def _escaped(name: str) -> str:
    return name.replace("+", "|+").replace(">", "|>")


def _unescaped(name: str) -> str:
    return name.replace("|+", "+").replace("|>", ">")
