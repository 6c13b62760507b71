"""What `invoke` returns: the keys of the output, or of ``output_keys``, and the interrupts that wait."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stepgraph.errors import InvalidInputError, suggest
from stepgraph.protocol.interrupts import Interrupt
from stepgraph.protocol.root_value import unwrapped
from stepgraph.serde.error_text import type_name

INTERRUPT_KEY: Final = "__interrupt__"
"""The key of a result under which the interrupts that wait are listed."""

OutputKeys = str | Sequence[str] | None
"""The channels that a result shows: one, whose value it then is; several; or `None` for those of the graph's output."""


def invoke_result(
    values: Mapping[str, Any], output: Sequence[str] | None, output_keys: OutputKeys, interrupts: Sequence[Interrupt]
) -> Any:
    """Return the result of an invoke.

    Args:
        values: the thread's values, by channel.
        output: the channels of the graph's output, in order; `None` for all.
        output_keys: what the caller asked for instead.
        interrupts: those that wait for an answer.
    """
    if isinstance(output_keys, str):
        result = values.get(output_keys)
    else:
        names = output if output_keys is None else output_keys
        result = unwrapped(values if names is None else {name: values[name] for name in names if name in values})
    if not interrupts:
        return result
    return (
        {**result, INTERRUPT_KEY: list(interrupts)} if isinstance(result, dict) else {INTERRUPT_KEY: list(interrupts)}
    )


def check_output_keys(output_keys: Any, known: Sequence[str] | None) -> OutputKeys:
    """Return ``output_keys`` if they name channels. ``known``: the graph's channels, if the caller has its code.

    Raises:
        InvalidInputError: they are no names, or a name is unknown.
    """
    if output_keys is None:
        return None
    names = [output_keys] if isinstance(output_keys, str) else output_keys
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InvalidInputError(f"output_keys names keys of the state, one or a list; got {type_name(output_keys)}.")
    for name in names:
        if known is not None and name not in known:
            raise InvalidInputError(
                f"output_keys names a key {name!r} that the state does not declare.{suggest(name, known)}", key=name
            )
    keys: OutputKeys = output_keys
    return keys
