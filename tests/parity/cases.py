"""A case: a graph that can be built in either library, and the operations to perform on a thread of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.parity.libraries import LANGGRAPH, STEPGRAPH, Library, ParityThread
from tests.parity.observations import Observations, observe
from tests.parity.operations import Operation

Build = Callable[[Library], Any]


@dataclass(frozen=True)
class Case:
    """A graph and the operations on its thread."""

    build: Build
    operations: tuple[Operation, ...]
    options: dict[str, Any] = field(default_factory=dict)
    """Arguments of `compile`."""

    @property
    def name(self) -> str:
        """The name of the function that builds the graph, which is also the graph's name."""
        return self.build.__name__

    async def observe_langgraph(self) -> Observations:
        """Perform the operations in LangGraph."""
        graph = self.build(LANGGRAPH).compile(checkpointer=InMemorySaver(), **self.options)
        return await observe(ParityThread(LANGGRAPH, graph, {"configurable": {"thread_id": "t"}}), self.operations)

    async def observe_stepgraph(self, stage: Stage) -> Observations:
        """Perform the operations in stepgraph, on a stage whose worker serves the graph."""
        client = stage.use(stage.graphs[self.name])
        return await observe(ParityThread(STEPGRAPH, client, stage.thread()), self.operations)

    def compile(self) -> CompiledGraph:
        """Return the case's graph, compiled by stepgraph."""
        graph: CompiledGraph = self.build(STEPGRAPH).compile(name=self.name, **self.options)
        return graph


class Cases:
    """The cases of a module, in the order in which they are written."""

    def __init__(self) -> None:
        self.params: list[Any] = []
        """For `pytest.mark.parametrize`. It is filled by `case`, below the test that is parametrized with it."""
        self.all: list[Case] = []

    def case(self, *operations: Operation, **options: Any) -> Callable[[Build], Case]:
        """Make a case of the decorated function, which builds the case's graph.

        Args:
            operations: what is done to the thread, one after the other.
            options: arguments of `compile`.
        """

        def decorate(build: Build) -> Case:
            case = Case(build, operations, options)
            self.all.append(case)
            self.params.append(pytest.param(case, id=case.name))
            return case

        return decorate


async def observe_both(case: Case, stage: Stage) -> tuple[Observations, Observations]:
    """Return what stepgraph does in the case, and what LangGraph does."""
    theirs = await case.observe_langgraph()
    return await case.observe_stepgraph(stage), theirs


def nodes(names: str, key: str = "log") -> dict[str, Callable[..., Any]]:
    """Return a node for each name that adds its name to a list.

    Args:
        names: the names, separated by spaces.
        key: the state key of the list.
    """
    return {name: _adds_name(name, key) for name in names.split()}


def _adds_name(name: str, key: str) -> Callable[..., Any]:
    return lambda state: {key: [name]}


def failing_once(error: Exception, then: Any, *, after: float = 0.0) -> Callable[..., Any]:
    """Return a node that fails when it first runs, and succeeds afterwards.

    Args:
        error: what it raises.
        then: what it returns.
        after: seconds before it fails. LangGraph cancels the siblings of a failed node, so they must be done by then.
    """
    errors = [error]

    def node(state: Any) -> Any:
        if errors:
            time.sleep(after)
            raise errors.pop()
        return then

    return node
