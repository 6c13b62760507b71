"""The arguments and the result of the activities that read other runs: `OPEN_THREAD` and `READ_CHECKPOINT`."""

from __future__ import annotations

from stepgraph.engine.record import Record
from stepgraph.engine.spec import GraphSpec
from stepgraph.protocol.message import Message


class OpenRequest(Message):
    """The argument of `OPEN_THREAD`: which run begins, and what it knows of the run before it."""

    graph: str
    thread_id: str
    run_id: str
    after: str | None = None
    """The run id of the thread's previous run, as the client saw it."""
    by_client: bool = False
    """Whether a client started the run. Then ``after`` is reliable; otherwise the previous run has to be found."""
    has_record: bool = False
    """Whether the run's start options have the thread's record, so that none has to be loaded."""
    task_queue: str = ""
    """The task queue that the run came by."""


class ReadRequest(Message):
    """The argument of `READ_CHECKPOINT`: a checkpoint of another run, or of another thread."""

    thread_id: str
    checkpoint_id: str


class RunSettings(Message):
    """The settings that a run's decisions depend on. The history records them, so a replay decides the same."""

    inline_bytes: int
    """The largest state, in bytes of JSON, that an activity's input contains. Of a larger one, it has the checkpoint
    id only."""
    continue_as_new_steps: int
    """Super-steps after which a run continues as new."""
    continue_as_new_tasks: int = 4000
    """Tasks with activities of their own after which a run continues as new, in the middle of a super-step, too."""
    tasks_in_flight: int = 100
    """The largest number of tasks of a super-step that run at once. By default as many as a worker runs at once by the
    SDK's default. A server buffers 100 events while a workflow task computes, two for each activity that ends; if more
    come, it fails the task, and the run is replayed."""
    fused_steps: int = 500
    """Super-steps that one activity executes at most, where durability is ``"async"``."""
    fused_seconds: float = 0.5
    """Seconds after which that activity begins no further super-step."""
    search_attributes: bool = False
    """Whether the namespace has the search attributes of `stepgraph.temporal.search_attributes`. To upsert one that
    the namespace lacks fails the workflow task."""
    uses_external_storage: bool = False
    """Whether external storage takes what Temporal does not carry."""
    hides_error_texts: bool = False
    """Whether the thread's page in the Web UI names errors by type and place only: their texts may quote a state."""
    task_queue: str | None = None
    """The graph's own task queue, if the run came by the shared one and a worker polls the graph's own. The graph's
    code is called there: a worker of the shared task queue may lack it."""
    continue_as_new_bytes: int | None = None
    """Bytes of states made in a run after which it continues as new: all of them are in memory, and a replay fetches
    them again. `None`: no such bound."""


class Opening(Message):
    """The result of `OPEN_THREAD`: everything that a run works from."""

    settings: RunSettings
    spec: GraphSpec | None
    """`None` if the worker does not have the graph."""
    record: Record | None = None
    """The record that the thread's previous run left; `None` if there was none, or if the start options have it."""
    known: tuple[str, ...] = ()
    """The graphs that the worker has, if it does not have the one that was requested."""
