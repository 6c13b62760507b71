"""LangGraph's `Overwrite`: a write that replaces a channel's value instead of going through its reducer."""

from __future__ import annotations

from typing import Any, NamedTuple


class Overwrite(NamedTuple):
    """A write that becomes the channel's value, whatever the value was. The channel's reducer is not called.

    Other writes of the same super-step to the channel have no effect; two overwrites are an error. As JSON data, on a
    command line say, it is ``{"__overwrite__": value}``.

    Examples:
        >>> graph.update_state(config, {"log": Overwrite([])}, as_node="human")  # doctest: +SKIP
    """

    value: Any
