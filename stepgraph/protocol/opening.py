"""What a run asks `open_thread` at its start, and the recorded answer that the run works from."""

from __future__ import annotations

from stepgraph.engine.record import Record
from stepgraph.engine.spec import GraphSpec
from stepgraph.protocol.message import Message


class OpenRequest(Message):
    """What `OPEN_THREAD` is asked."""

    graph: str
    thread_id: str
    run_id: str
    after: str | None = None
    by_client: bool = False
    """A client started the run, and knows what came before it."""
    has_record: bool = False


class ReadRequest(Message):
    """What `READ_CHECKPOINT` is asked: a checkpoint of another run, or of another thread."""

    thread_id: str
    checkpoint_id: str


class RunSettings(Message):
    """The settings that decide a run's commands; recorded, so that a replay decides the same."""

    inline_bytes: int
    """A state up to this many bytes of JSON travels inside an activity's input, beyond it by its checkpoint's id."""
    continue_as_new_steps: int
    """Super-steps after which a run continues as new."""
    fused_steps: int = 500
    """Super-steps that one activity runs at the most, where their durability is ``"async"``."""
    fused_seconds: float = 0.5
    """How long it goes on with another one."""
    search_attributes: bool = False
    """Whether the namespace has those of `stepgraph.temporal.search_attributes`; upserting one that it lacks fails the workflow task."""
    uses_external_storage: bool = False
    """Whether external storage takes what Temporal does not carry."""
    continue_as_new_bytes: int | None = None
    """Bytes of states made in a run after which it does so, too: all are in memory, and fetched again for a replay."""


class Opening(Message):
    """What `OPEN_THREAD` answers, and a run works from."""

    settings: RunSettings
    spec: GraphSpec | None
    """`None` when the worker has no such graph."""
    record: Record | None = None
    known: tuple[str, ...] = ()
    """The graphs the worker has, when it lacks the one asked for."""
