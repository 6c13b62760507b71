"""What workflow, activities and clients say to each other: the names, and the data that crosses.

Everything crosses as plain JSON data (``model_dump(mode="json")``), so any Temporal data converter carries it, the
Web UI shows it, and ``temporal workflow start`` and ``query`` can write and read it by hand. Changing a name or a
field's meaning breaks threads in flight; adding a field with a default does not.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

from stepgraph.engine.record import Record
from stepgraph.engine.spec import GraphSpec
from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT

ENTRANCE: Final = "stepgraph"
"""The task queue on which every worker process takes runs of any of its graphs, for starts made by hand."""

OPEN_THREAD: Final = "stepgraph.open_thread"
READ_CHECKPOINT: Final = "stepgraph.read_checkpoint"
ROUTE: Final = "stepgraph.route"
UPDATE_STATE: Final = "update_state"
FORK: Final = "fork"
RESUME: Final = "resume"
INVOKE: Final = "invoke"
SETTLED: Final = "settled"
GET_STATE: Final = "get_state"
GET_HISTORY: Final = "get_state_history"
GET_RECORD: Final = "stepgraph.record"
GET_VALUES: Final = "stepgraph.values"
CHECK: Final = "stepgraph.check"

ASK_AGAIN: Final = "AskAgain"
"""The type of the refusal of an update that came at a moment when none can be taken."""

PAGE_SIZE: Final = 1_000_000
"""Bytes of a query's answer beyond which it comes in pages: a result over 2 MiB would be refused."""

WORKFLOW_TASK_SECONDS: Final = 60
"""What a workflow task may take where there is external storage: it fetches, commits and stores states of 50 MB."""

HISTORY_PAGE: Final = 100
"""Checkpoints a history query answers at the most; the rest is asked for with ``before``."""

HISTORY_BYTES: Final = 16_000_000
"""Bytes of checkpoints after which it answers no more, either."""


def task_queue_of(graph: str) -> str:
    """A graph's own task queue: whoever has its code may poll it, and gets no other graph's work."""
    return f"{ENTRANCE}.{graph}"


def steps_type(graph: str) -> str:
    """The activity type of super-steps in a row: ``research.steps``."""
    return f"{graph}.steps"


def activity_type(graph: str, node: str) -> str:
    """The activity type of a node: ``research.analyze``."""
    return f"{graph}.{node}"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """Plain data, without what is at its default."""
        return self.model_dump(mode="json", exclude_defaults=True)


class WrittenUpdate(_Wire):
    """One update as it is ordered: values as JSON data, and in whose name; by default, the last writer's."""

    values: dict[str, Any] | None = None
    as_node: str | None = None


class Order(_Wire):
    """What `UPDATE_STATE` and `FORK` are asked: in an update, a signal, or a run that is started for it.

    ``{"values": {...}, "as_node": "human"}`` is all that most need; ``{}`` to `FORK` runs the head's tasks again.
    """

    values: dict[str, Any] | None = None
    as_node: str | None = None
    checkpoint_id: str | None = None
    """Where to grow from; the head by default."""
    super_steps: tuple[tuple[WrittenUpdate, ...], ...] | None = None
    """Several at once, in place of ``values``: each a super-step of updates that are made together."""
    thread_id: str | None = None
    """On the first run of a fork: the thread that ``checkpoint_id`` is on."""

    def steps(self, kind: Literal["update", "fork"]) -> tuple[tuple[WrittenUpdate, ...], ...]:
        """The updates, super-step by super-step; an empty one is a replay."""
        if self.super_steps is not None:
            return self.super_steps
        if kind == "fork" and self.values is None and self.as_node is None:
            return ((),)
        return ((WrittenUpdate(values=self.values, as_node=self.as_node),),)


class ResumeOrder(_Wire):
    """What `RESUME` is asked: ``{"resume": "yes"}``, or ``{"resume": {"<interrupt id>": "yes"}}``."""

    resume: Any = None
    interrupt_before: tuple[str, ...] | None = None
    """Breakpoints from here on, in place of the graph's."""
    interrupt_after: tuple[str, ...] | None = None


OnBusy = Literal["refuse", "enqueue", "cancel"]


class InvokeOrder(_Wire):
    """What `INVOKE` is asked of an open thread: an input, or none to go on from a breakpoint."""

    input: dict[str, Any] | None = None
    on_busy: OnBusy = "refuse"
    """While the thread runs: refuse; wait in line; or stop the nodes that run, and be the next."""
    checkpoint_id: str | None = None
    """Where to go on from in place of the head: what came after is run again."""
    recursion_limit: int = DEFAULT_RECURSION_LIMIT
    config: dict[str, Any] = {}
    interrupt_before: tuple[str, ...] | None = None
    interrupt_after: tuple[str, ...] | None = None


class Queued(_Wire):
    """An input in line: it begins, in a run of its own, once the thread stands still. `INVOKE` answers its ticket."""

    ticket: str
    order: InvokeOrder


class Settled(_Wire):
    """What `SETTLED` answers, when there is something to answer."""

    waits: bool = False
    """The thread stands still, and waits, at a head whose record is too large for an answer: it is to be queried."""
    waiting: Record | None = None
    """The thread stands still, and waits: for answers, or at a breakpoint. Otherwise its run has ended, or goes on."""


class StartOptions(_Wire):
    """A run's second argument; every field has a default, so a run started by hand needs none."""

    after: str | None = None
    """The thread's latest run, as the client saw it."""
    caller: str | None = None
    """Tells apart two clients that both asked for the run that follows ``after``."""
    recursion_limit: int = DEFAULT_RECURSION_LIMIT
    steps_left: int | None = None
    """On a hand-over: what is left of the recursion limit."""
    config: dict[str, Any] = {}
    record: Record | None = None
    """On a hand-over, or when its turn has come: what the run goes on from."""
    running: bool = True
    """On a hand-over: whether what is due is to be run."""
    passed: bool = False
    """On a hand-over: whether to go on from a breakpoint at the head."""
    errors: tuple[str, ...] = ()
    """On a hand-over: why signals could not be honoured."""
    turn: str | None = None
    """The ticket of the queued input that this run begins; the invocation before it is over then."""
    error: dict[str, Any] | None = None
    """What that one failed with."""
    queue: tuple[Queued, ...] = ()
    """The inputs that wait in line."""
    update: Order | None = None
    """Make this update, and end: nothing is run."""
    fork: Order | None = None
    """Make this fork, and run on."""
    resume: ResumeOrder | None = None
    """Answer interrupts that a run ended from outside has left, and run on."""
    interrupt_before: tuple[str, ...] | None = None
    """Breakpoints in place of the graph's."""
    interrupt_after: tuple[str, ...] | None = None


class Refusal(_Wire):
    """The result of a run that was started for an order, and refused it: the thread is as it was."""

    refused: dict[str, Any]
    """The error, as its caller is told of it."""
    record: Record | None = None
    """The thread's; `None` if it has no checkpoint."""


class OpenRequest(_Wire):
    """What `OPEN_THREAD` is asked."""

    graph: str
    thread_id: str
    run_id: str
    after: str | None = None
    by_client: bool = False
    """A client started the run, and knows what came before it."""
    has_record: bool = False


class ReadRequest(_Wire):
    """What `READ_CHECKPOINT` is asked: a checkpoint of another run, or of another thread."""

    thread_id: str
    checkpoint_id: str


class Settings(_Wire):
    """The settings that decide a run's commands; recorded, so that a replay decides the same."""

    inline_bytes: int
    """A state up to this many bytes of JSON travels inside an activity's input, beyond it by its checkpoint's id."""
    hand_over_steps: int
    """Super-steps after which a run continues as new."""
    fused_steps: int = 500
    """Super-steps that one activity runs at the most, where their durability is ``"async"``."""
    fused_seconds: float = 0.5
    """How long it goes on with another one."""
    search_attributes: bool = False
    """Whether the namespace has those of `stepgraph.temporal.search_attributes`; upserting one that it lacks fails the workflow task."""
    stored: bool = False
    """Whether external storage takes what Temporal does not carry."""
    hand_over_bytes: int | None = None
    """Bytes of states made in a run after which it does so, too: all are in memory, and fetched again for a replay."""


class Opening(_Wire):
    """What `OPEN_THREAD` answers, and a run works from."""

    settings: Settings
    spec: GraphSpec | None
    """`None` when the worker has no such graph."""
    record: Record | None = None
    known: tuple[str, ...] = ()
    """The graphs the worker has, when it lacks the one asked for."""


class _Asked(_Wire):
    model_config = ConfigDict(frozen=True, extra="forbid")  # people write these by hand, and mistype

    page: int = Field(0, ge=0)


class HistoryRequest(_Asked):
    """What `GET_HISTORY` is asked."""

    limit: int | None = Field(None, ge=0)
    before: str | None = None
    """A checkpoint id of the run: only what is older."""
    filter: dict[str, Any] | None = None


class StateRequest(_Asked):
    """What `GET_STATE` and `GET_RECORD` are asked; without a checkpoint id, about the head."""

    checkpoint_id: str | None = None


class CheckRequest(_Asked):
    """What `CHECK` is asked of a closed run: whether its thread's next run would refuse this order."""

    kind: Literal["update", "fork"]
    order: Order


class ValuesRequest(StateRequest):
    """What `GET_VALUES` is asked."""

    since: str | None = None
    """A checkpoint whose values the asker has: tell what differs from them."""


def in_pages(answer: Any, page: int) -> Any:
    """An answer to a query: as it is if it is small, otherwise one page of its text, to be put together by `Pages`."""
    text = to_json(answer)
    if len(text) <= PAGE_SIZE and not _is_page(answer):
        return answer
    count = -(-len(text) // PAGE_SIZE)
    piece = text[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
    return {
        "etag": hashlib.sha256(text).hexdigest()[:16],
        "pages": count,
        "piece": base64.b64encode(piece).decode(),
    }


class Pages:
    """Puts the pages of an answer together again. Feed it answers until `wanted` is `None`."""

    def __init__(self) -> None:
        self.wanted: int | None = 0
        self.answer: Any = None
        self._etag = ""
        self._pieces: list[bytes] = []

    def take(self, answer: Any) -> None:
        """Takes the answer to the page wanted. One that changed meanwhile is begun anew."""
        if not _is_page(answer):
            self.answer, self.wanted = answer, None
            return
        if answer["etag"] != self._etag:
            restart = bool(self._pieces)
            self._etag, self._pieces = answer["etag"], []
            if restart:
                self.wanted = 0
                return
        self._pieces.append(base64.b64decode(answer["piece"]))
        self.wanted = len(self._pieces)
        if self.wanted == answer["pages"]:
            self.answer, self.wanted = from_json(b"".join(self._pieces)), None


def _is_page(answer: Any) -> bool:
    return isinstance(answer, Mapping) and answer.keys() == {"etag", "pages", "piece"}
