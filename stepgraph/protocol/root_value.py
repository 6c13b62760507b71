"""A state that is one value, between the form that people use and the channel `ROOT` that the engine knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stepgraph.engine.constants import ROOT


def wrapped(value: Any) -> Any:
    """Return the one value of a state under its channel's name; what has that form already stays as it is."""
    return value if is_wrapped(value) else {ROOT: value}


def is_wrapped(values: Any) -> bool:
    """Return whether these are the values of a state that is one value."""
    return isinstance(values, Mapping) and values.keys() == {ROOT}


def unwrapped(values: Any) -> Any:
    """Return the one value of a state, if these are the values of such a state; other values as they are."""
    return values[ROOT] if is_wrapped(values) else values
