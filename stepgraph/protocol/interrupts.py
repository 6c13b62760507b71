"""LangGraph's `Interrupt` and `Command`: what a node asks a human for, how callers answer, and where a node leads."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, NamedTuple

from typing_extensions import TypeVar

from stepgraph.protocol.seen_by_langgraph import SeenByLangGraph, langgraph_types
from stepgraph.protocol.send import Send


class Interrupt(NamedTuple):
    """A node's request for an answer, as snapshots and ``result["__interrupt__"]`` show it."""

    value: Any
    """What the node passed to `interrupt`."""
    id: str
    deadline: str | None = None
    """When the default becomes the answer; ISO 8601, UTC. `None` without a timeout."""


NodeName = TypeVar("NodeName", bound=Hashable, default=str)


@dataclass(frozen=True, kw_only=True)
class Command(SeenByLangGraph, Generic[NodeName]):
    """Writes to the state and says what runs next: returned by a node, or passed to `invoke` in place of an input.

    A node that is annotated ``-> Command[Literal["a", "b"]]`` says where its commands may lead.

    Args:
        update: keys of the state to set: a mapping, a list of ``(key, value)``, or an instance of the state's class.
        goto: the node that runs next, or several: names, or `Send`s. Those that the node's edges lead to run, too.
        resume: the answer to the one interrupt that waits, or a mapping from interrupt ids to answers. Only for
            `invoke`.
        graph: the graph that the command is for: `None` for the node's own, ``Command.PARENT`` for the one around it.

    Examples:
        >>> def triage(state) -> Command[Literal["refund", "reply"]]:
        ...     return Command(update={"seen": True}, goto="refund" if state["amount"] else "reply")
        >>> triage({"amount": 3})
        Command(graph=None, update={'seen': True}, resume=None, goto='refund')
        >>> graph.invoke(Command(resume="yes"), config)  # doctest: +SKIP
    """

    graph: str | None = None
    update: Any = None
    resume: Any = None
    goto: Send | NodeName | Sequence[Send | NodeName] = ()

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"

    def _update_as_tuples(self) -> Sequence[tuple[str, Any]]:
        """Return the update as LangGraph's writers read it."""
        pairs: Sequence[tuple[str, Any]] = langgraph_types().Command._update_as_tuples(self)
        return pairs
