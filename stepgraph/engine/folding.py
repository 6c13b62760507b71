"""Applies the writes of one super-step to the values of a checkpoint, all of it JSON data. Pure functions.

Three kinds of channels are folded differently:

- without a reducer, the write is the value, and there may be one;
- with a built-in fold, the writes are folded here, in the order of the tasks (`stepgraph.engine.folds`);
- with a custom fold, only the graph's code can fold: all writes of the super-step as one batch, in the order of the
  tasks. A task that wrote to the channel brings the `Change` that its own writes make. It holds if no other task of the
  super-step wrote to the channel, and if the value still is the one that the task started from: after an update by hand
  it may be another. Otherwise `unfolded` names the channel, and the caller has the graph's code fold the batch
  (`Applied`).

A channel with ``every_step`` is folded in each super-step, also when nothing wrote to it: its value may last for one
super-step only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stepgraph.engine.changes import NOTHING, Change
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.folds import BUILT_IN, CUSTOM, LAST_VALUE, OVERWRITE, is_overwrite
from stepgraph.engine.spec import MIXED, ChannelSpec, GraphSpec, same_type
from stepgraph.errors import InvalidUpdateError, ReducerError, StepgraphError, suggest
from stepgraph.serde.error_text import first_line, names_in, type_name


class Write(NamedTuple):
    """One value for one channel, as JSON data."""

    node: str
    channel: str
    value: Any
    stamp: str | None = None
    """Under which type it was written; `None` stands for what the run's spec declares."""


class Entry(NamedTuple):
    """What one task of a super-step, or one update by hand, contributes."""

    key: str
    """The task's id, or another name that is unique in the super-step."""
    node: str
    """The node, or the virtual author."""
    result: TaskResult


@dataclass(frozen=True)
class Unfolded:
    """What only the graph's code can tell before a super-step can be committed."""

    values: Mapping[str, Any]
    """The values before it, as JSON data."""
    step: int
    entries: tuple[Entry, ...]
    """All that was written, in order."""
    channels: tuple[str, ...]
    """The channels with a custom fold whose writes have to be folded together."""


@dataclass(frozen=True)
class Applied:
    """What the graph's code told: the answer to `Unfolded`."""

    changes: Mapping[str, Change] = field(default_factory=dict)
    """By channel."""
    results: Mapping[str, TaskResult] = field(default_factory=dict)
    """By the key of its entry: the result with what its routers chose."""
    stamps: Mapping[str, str] = field(default_factory=dict)
    """The stamps of the channels that it folded, where its code differs from the run's spec."""


def unfolded(
    spec: GraphSpec, values: Mapping[str, Any], versions: Mapping[str, str], entries: Sequence[Entry], *, step: int
) -> Unfolded | None:
    """Return what only the graph's code can tell of a super-step; `None` if it can be committed without."""
    names = _custom_folded(spec, values, entries)
    valid = _valid_changes(names, entries, versions)
    channels = tuple(name for name in names if name not in valid)
    if not channels and not any(entry.result.unrouted for entry in entries):
        return None
    return Unfolded(values, step, tuple(entries), channels)


def fold(
    spec: GraphSpec,
    values: Mapping[str, Any],
    versions: Mapping[str, str],
    entries: Sequence[Entry],
    changes: Mapping[str, Change],
    *,
    step: int,
    without: Collection[str] = (),
) -> dict[str, Any]:
    """Return the values after a super-step.

    Args:
        spec: the graph's spec.
        values: the values before, as JSON data.
        versions: the versions of the channels with a custom fold.
        entries: what was written, in order.
        changes: the changes of the channels that `unfolded` names.
        step: the number of the super-step, for error messages.
        without: channels that are left as they are.

    Raises:
        InvalidUpdateError: a channel is unknown, one without a reducer got several values, or one several overwrites.
        ReducerError: a built-in fold failed.
        StepgraphError: a change is missing or does not fit its value, or a built-in fold is unknown.
    """
    folded = dict(values)
    for name, writes in by_channel(writes_of(entries)).items():
        if name in without:
            continue
        channel = _channel(spec, name)
        if channel.folds and (overwriting := overwrite_among(writes, step=step)) is not None:
            folded[name] = overwriting.value[OVERWRITE]
        elif channel.fold != CUSTOM:
            before = values.get(name, NOTHING)
            folded[name] = fold_built_in(channel.fold, before, writes, step=step, type_text=channel.type)
    names = [name for name in _custom_folded(spec, values, entries) if name not in without]
    changes = {**_valid_changes(names, entries, versions), **changes}
    for name in names:
        folded[name] = _apply(name, changes.get(name), values.get(name, NOTHING), step)
    folded = {name: value for name, value in folded.items() if value is not NOTHING}
    declared = {name: folded[name] for name in spec.channel_names if name in folded}
    return declared | folded  # a channel that the spec does not have keeps its value, after the others


def overwrite_among(writes: Sequence[Write], *, step: int) -> Write | None:
    """Return the write to a channel that replaces its value; `None` if all of them are to be folded.

    Raises:
        InvalidUpdateError: several writes of the super-step would replace the value.
    """
    overwriting = [write for write in writes if is_overwrite(write.value)]
    if len(overwriting) > 1:
        nodes = [write.node for write in overwriting]
        raise InvalidUpdateError(
            f"Channel {writes[0].channel!r} got {len(nodes)} overwrites in step {step} (from "
            f"{names_in(nodes)}). Only one of the nodes of a super-step may overwrite a channel.",
            channel=writes[0].channel,
            nodes=nodes,
            step=step,
        )
    return overwriting[0] if overwriting else None


def fold_built_in(name: str, before: Any, writes: Sequence[Write], *, step: int, type_text: str) -> Any:
    """Return a channel's value after its writes, by the built-in fold ``name`` or as the last value.

    Raises like `fold`. ``type_text`` is the channel's type, for the message about several values.
    """
    channel = writes[0].channel
    if name == LAST_VALUE:
        if len(writes) > 1:
            nodes = [write.node for write in writes]
            raise InvalidUpdateError(
                f"Channel {channel!r} got {len(nodes)} values in step {step} (from {names_in(nodes)}). "
                f"Give it a reducer: Annotated[{type_text}, operator.add], say.",
                channel=channel,
                nodes=nodes,
                step=step,
            )
        value = writes[0].value
        return value[OVERWRITE] if is_overwrite(value) else value
    if name not in BUILT_IN:
        raise StepgraphError(
            f"Channel {channel!r} has the fold {name!r}, which this version of stepgraph does not know. Another "
            "version started the run: use that version, or a later one.",
            channel=channel,
        )
    value = before
    for write in writes:
        try:
            value = write.value if value is NOTHING else BUILT_IN[name](value, write.value)
        except Exception as error:
            raise reducer_error(channel, write.node, step, error) from error
    return value


def reducer_error(channel: str, node: str, step: int, error: BaseException) -> ReducerError:
    """Return the error for a reducer that failed on what a node wrote."""
    return ReducerError(
        f"The reducer of channel {channel!r} failed in step {step} on what {node!r} wrote: "
        f"{type_name(error)}: {first_line(error)}. "
        "Fix it, then resume the thread; nothing that its nodes wrote is lost.",
        channel=channel,
        node=node,
        step=step,
    )


def pending_values(
    spec: GraphSpec, values: Mapping[str, Any], versions: Mapping[str, str], entries: Sequence[Entry], *, step: int
) -> dict[str, Any]:
    """Return the channels that pending writes change, with the values that they would have.

    A channel with a custom fold is left out if only the graph's code can tell its value. So is every channel if the
    writes cannot be applied: the commit will raise the error.
    """
    missing = unfolded(spec, values, versions, entries, step=step)
    without = frozenset(missing.channels if missing is not None else ())
    try:
        folded = fold(spec, values, versions, entries, {}, step=step, without=without)
    except StepgraphError:
        return {}
    return {name: value for name, value in folded.items() if name not in values or value is not values[name]}


def writes_of(entries: Sequence[Entry]) -> Iterator[Write]:
    """Iterate over all writes of a super-step, in order."""
    for entry in entries:
        for values in entry.result.writes:
            for channel, value in values.items():
                yield Write(entry.node, channel, value, entry.result.stamps.get(channel))


def by_channel(writes: Iterable[Write]) -> dict[str, list[Write]]:
    """Return the writes to each channel, in order."""
    grouped: dict[str, list[Write]] = {}
    for write in writes:
        grouped.setdefault(write.channel, []).append(write)
    return grouped


def next_versions(
    spec: GraphSpec,
    versions: Mapping[str, str],
    values: Mapping[str, Any],
    entries: Sequence[Entry],
    checkpoint_id: str,
) -> Mapping[str, str]:
    """Return the versions of the channels with a custom fold after a super-step that made this checkpoint.

    ``values`` are those before it.
    """
    if not spec.custom_channels and not versions:
        return versions
    written = {name for entry in entries for name in entry.result.channels}
    kept = {*spec.custom_channels, *versions}  # a channel may have had a custom fold under former code
    changed = {*_custom_folded(spec, values, entries), *(name for name in kept if name in written)}
    return {**versions, **dict.fromkeys(sorted(changed), checkpoint_id)} if changed else versions


def next_stamps(
    spec: GraphSpec,
    stamps: Mapping[str, str],
    before: Mapping[str, Any],
    values: Mapping[str, Any],
    entries: Sequence[Entry],
    applied: Applied,
) -> Mapping[str, str]:
    """Return the stamps of the channels after a super-step.

    Args:
        spec: the run's spec: what a task writes has the spec's stamp, unless the task says otherwise.
        stamps: the stamps before.
        before: the values before, as JSON data.
        values: the values after.
        entries: what was written, in order.
        applied: what the graph's code told of them.
    """
    proven = {name: stamp for entry in entries for name, stamp in entry.result.stamps.items() if entry.result.proved}
    new = dict(proven)
    for name, writes in by_channel(writes_of(entries)).items():
        declared = spec.channels_by_name[name].stamp if name in spec.channels_by_name else MIXED
        overwriting = [write for write in writes if is_overwrite(write.value)]
        parts = [write.stamp or declared for write in overwriting or writes]
        if spec.is_built_in(name) and name in before and not overwriting:
            parts.append(proven.get(name, stamps.get(name, MIXED)))
        new[name] = parts[0] if all(same_type(part, parts[0]) for part in parts) else MIXED
    for name in applied.changes:
        new[name] = applied.stamps.get(name, spec.channels_by_name[name].stamp)
    new |= {  # of empty values
        name: spec.channels_by_name[name].stamp
        for name in values
        if name not in stamps and name not in new and name in spec.channels_by_name
    }
    new = {name: stamp for name, stamp in new.items() if name in values and stamps.get(name) != stamp}
    return {**stamps, **new} if new else stamps


def _custom_folded(spec: GraphSpec, values: Mapping[str, Any], entries: Sequence[Entry]) -> list[str]:
    """Return the channels with a custom fold that a super-step folds: those written, and those with ``every_step``.

    One that is overwritten is not folded.
    """
    if not spec.custom_channels:
        return []
    written = {name for entry in entries for name in entry.result.channels}
    overwritten = {write.channel for write in writes_of(entries) if is_overwrite(write.value)}
    return [
        name
        for name in spec.custom_channels
        if name not in overwritten and (name in written or (name in values and spec.channels_by_name[name].every_step))
    ]


def _valid_changes(names: Sequence[str], entries: Sequence[Entry], versions: Mapping[str, str]) -> dict[str, Change]:
    """Return the changes that tasks bring for channels, where a change is the one that the whole super-step makes."""
    if not names:
        return {}
    writers: dict[str, list[TaskResult]] = {}
    bringing: dict[str, TaskResult] = {}
    for entry in entries:
        for name in dict.fromkeys(name for write in entry.result.writes for name in write):
            writers.setdefault(name, []).append(entry.result)
        for name in entry.result.changes:
            bringing.setdefault(name, entry.result)
    valid: dict[str, Change] = {}
    for name in names:
        if name not in writers and name in bringing:  # every task brings the change of an empty batch: all the same
            writers[name] = [bringing[name]]
        results = writers.get(name, [])
        if len(results) == 1 and results[0].changes_from.get(name) == versions.get(name, ""):
            change = results[0].change(name)
            if change is not None:
                valid[name] = change
    return valid


def _apply(channel: str, change: Change | None, before: Any, step: int) -> Any:
    if change is None:
        raise StepgraphError(f"Channel {channel!r} was not folded in step {step}: its change is missing.")
    try:
        return change.apply(before)
    except LookupError as error:
        raise StepgraphError(
            f"The change of channel {channel!r} in step {step} does not fit its value: {error}."
        ) from error


def _channel(spec: GraphSpec, name: str) -> ChannelSpec:
    if name not in spec.channels_by_name:
        raise InvalidUpdateError(
            f"There is no channel {name!r} in the spec that this run was started with."
            f"{suggest(name, spec.channel_names)} Resume the thread: its next run takes the spec of the worker's code, "
            "and nothing that its nodes wrote is lost. If that code lacks the channel, too, deploy code that has it, "
            "or run the super-step again: invoke(None, <the checkpoint's config>).",
            channel=name,
        )
    return spec.channels_by_name[name]
