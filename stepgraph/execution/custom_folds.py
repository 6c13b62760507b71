"""Folds writes on the worker's side: by the fold that the run has recorded, with the graph's code for custom ones.

Routers, the activities of single nodes, fused super-steps and `apply_writes` all fold here, so a router never sees
values that the commit would not make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stepgraph.engine.changes import NOTHING, Change, change_of
from stepgraph.engine.folding import Entry, Write, by_channel, fold_built_in, overwrite_among, reducer_error, writes_of
from stepgraph.engine.folds import CUSTOM, LAST_VALUE, OVERWRITE
from stepgraph.engine.spec import same_type
from stepgraph.errors import ChannelTypeError, ReducerError
from stepgraph.execution.reducers import WriteError
from stepgraph.execution.run_code import RunCode
from stepgraph.serde.error_text import type_name
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.sizes import TOO_DEEP, is_too_deep


def fold_writes(
    code: RunCode, values: Mapping[str, Any], writes: Sequence[Write], *, stamps: Mapping[str, str], step: int
) -> dict[str, Any]:
    """Return the values of the channels that are written, as JSON data, after writes of one super-step.

    Args:
        code: the graph's code, for a run.
        values: the values before, as JSON data.
        writes: the writes, in order.
        stamps: the stamps of values that differ from those of the run's spec.
        step: the number of the super-step, for error messages.

    Raises:
        ChannelTypeError: a value that is folded does not come back unchanged under the types of the code.
        InvalidUpdateError: a channel without a reducer got several values.
        ReducerError: a reducer raised, or returned a value that its channel cannot hold; or the code at hand has none.
    """
    folded = {}
    for name, channel_writes in by_channel(writes).items():
        before = values.get(name, NOTHING)
        fold = code.spec.folds.get(name, LAST_VALUE)
        overwriting = None if fold == LAST_VALUE else overwrite_among(channel_writes, step=step)
        if overwriting is not None:
            folded[name] = overwriting.value[OVERWRITE]
        elif fold == CUSTOM:
            folded[name] = fold_custom(code, name, before, channel_writes, stamps=stamps, step=step)
        else:
            type_text = code.channels[name].type_text if name in code.channels else "list"
            folded[name] = fold_built_in(fold, before, channel_writes, step=step, type_text=type_text)
    return folded


def fold_custom(
    code: RunCode, name: str, before: Any, writes: Sequence[Write], *, stamps: Mapping[str, str], step: int
) -> Any:
    """Return a channel's value after all writes of one super-step, as JSON data, by the graph's own code.

    Raises:
        ReducerError: see `fold_writes`.
        ChannelTypeError: the value before does not come back unchanged under the channel's type.
    """
    node = writes[-1].node if writes else ""
    custom_fold = code.channels[name].custom_fold if name in code.channels else None
    if custom_fold is None:
        raise ReducerError(
            f"The run folds channel {name!r} by a reducer, but this worker's code has none for it. Deploy "
            "code that has it; or resume the thread, which then goes on under the code at hand.",
            channel=name,
            node=node,
            step=step,
            missing=True,
        )
    channel = code.channels[name]
    value = channel.zero()
    if before is not NOTHING:
        value = code.channels.decode({name: before}, code.recorded_stamps(stamps))[name]
    decoded: list[Any] = []
    try:
        for write in writes:
            node = write.node
            recorded = write.stamp or code.spec.stamps_of([name]).get(name)
            if same_type(recorded, channel.spec.stamp):
                decoded.append(channel.decode_write(write.value))
            else:
                decoded.append(channel.prove_write(write.value, recorded))
        value = custom_fold.fold(value, decoded)
    except ChannelTypeError:
        raise
    except BaseException as error:  # a fold must neither end its worker nor look like a cancelled task
        if isinstance(error, WriteError) and error.__cause__ is not None:
            raise reducer_error(channel.name, writes[error.number].node, step, error.__cause__) from error
        raise reducer_error(channel.name, node, step, error) from error
    try:
        encoded = NOTHING if value is NOTHING else channel.codec.encode(value)
        if is_too_deep(encoded):
            raise RoundTripError(TOO_DEEP)
        return encoded
    except RoundTripError as error:
        raise ReducerError(
            f"The reducer of channel {channel.name!r} made a {type_name(value)} in step {step}, but the channel is "
            f"declared {channel.type_text}: {error}. Return a value of the declared type.",
            channel=channel.name,
            node=node,
            step=step,
        ) from error


def changes_by(
    code: RunCode, values: Mapping[str, Any], writes: Sequence[Write], *, stamps: Mapping[str, str], step: int
) -> dict[str, Change]:
    """Return the changes that writes make to the channels with a custom fold. Raises like `fold_writes`."""
    channels = code.channels
    changes: dict[str, Change] = {}
    for name in (name for name in code.spec.custom_channels if name in channels):
        own_writes = [write for write in writes if write.channel == name]
        if overwrite_among(own_writes, step=step) is not None:
            continue
        before = values.get(name, NOTHING)
        fold = channels[name].custom_fold
        if own_writes or (before is not NOTHING and fold is not None and fold.every_step):
            changes[name] = change_of(before, fold_custom(code, name, before, own_writes, stamps=stamps, step=step))
    return changes


def changes_together(
    code: RunCode,
    names: Sequence[str],
    values: Mapping[str, Any],
    entries: Sequence[Entry],
    *,
    stamps: Mapping[str, str],
    step: int,
) -> dict[str, Change]:
    """Return the changes that all writes of a super-step make to some channels with a custom fold.

    Raises like `fold_writes`.
    """
    writes = list(writes_of(entries))
    changes: dict[str, Change] = {}
    for name in names:
        before = values.get(name, NOTHING)
        own = [write for write in writes if write.channel == name]
        changes[name] = change_of(before, fold_custom(code, name, before, own, stamps=stamps, step=step))
    return changes
