"""A case: a graph, drawn in either dialect, and a program to play on a thread of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from stepgraph.graph.compiled import CompiledGraph
from tests.conftest import Stage
from tests.parity.dialect import HERE, THERE, Dialect, Play
from tests.parity.steps import Step
from tests.parity.telling import Told, tell

Build = Callable[[Dialect], Any]


@dataclass(frozen=True)
class Case:
    """A graph and its program."""

    build: Build
    program: tuple[Step, ...]
    options: dict[str, Any] = field(default_factory=dict)
    """Of `compile`."""

    @property
    def name(self) -> str:
        return self.build.__name__

    async def there(self) -> Told:
        """Told by LangGraph."""
        graph = self.build(THERE).compile(checkpointer=InMemorySaver(), **self.options)
        return await tell(Play(THERE, graph, {"configurable": {"thread_id": "t"}}), self.program)

    async def here(self, stage: Stage) -> Told:
        """Told by stepgraph, on a stage whose worker serves the graph."""
        return await tell(Play(HERE, stage.use(stage.graphs[self.name]), stage.thread()), self.program)

    def compile(self) -> CompiledGraph:
        """Stepgraph's graph of the case."""
        graph: CompiledGraph = self.build(HERE).compile(name=self.name, **self.options)
        return graph


class Cases:
    """The cases of a module, in the order in which they are written."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.all: list[Case] = []

    def case(self, *program: Step, **options: Any) -> Callable[[Build], Case]:
        """Makes a case of the function below: it draws the graph; the program is played on it.

        Args:
            program: what is done to the thread, one after the other.
            options: of `compile`.
        """

        def decorate(build: Build) -> Case:
            case = Case(build, program, options)
            self.all.append(case)
            self.found.append(pytest.param(case, id=case.name))
            return case

        return decorate


async def both(case: Case, stage: Stage) -> tuple[Told, Told]:
    """The case told by stepgraph, and by LangGraph."""
    there = await case.there()
    return await case.here(stage), there


def nodes(names: str, key: str = "log") -> dict[str, Callable[..., Any]]:
    """A node for each name, that adds its name to a list."""
    return {name: _adding(name, key) for name in names.split()}


def _adding(name: str, key: str) -> Callable[..., Any]:
    return lambda state: {key: [name]}


def failing_once(error: Exception, then: Any, *, after: float = 0.0) -> Callable[..., Any]:
    """A node that fails when it is first run, and returns something afterwards.

    Args:
        error: what it raises.
        then: what it returns.
        after: seconds before it fails. LangGraph stops the siblings of a node that fails, so they must be done by then.
    """
    errors = [error]

    def node(state: Any) -> Any:
        if errors:
            time.sleep(after)
            raise errors.pop()
        return then

    return node
