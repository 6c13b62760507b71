"""A program: a graph of LangGraph's with an input and answers, which runs unchanged in LangGraph and here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import stepgraph

EACH = object()
"""Stands for an answer to each interrupt that waits, made of its value."""

_MASKED = (
    (re.compile(r"(lc_)?(run-+)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}(-\d+)?"), "<id>"),
    (re.compile(r"\b[0-9a-f]{16}([0-9a-f]{16})?\b"), "<id>"),
)


@dataclass(frozen=True)
class Program:
    """A graph, and what is done with a thread of it."""

    build: Callable[[], Any]
    """Returns the compiled graph, anew for each library."""
    input: Any
    answers: tuple[Any, ...] = ()
    types: tuple[type, ...] = ()
    """Passed to `adopt`."""
    loses: bool = False
    """Whether LangGraph's checkpoints lose some of the values: a tuple becomes a list, for example."""
    options: dict[str, Any] = field(default_factory=dict)
    """Passed to ``invoke``."""

    @property
    def name(self) -> str:
        """The name of the function that builds the graph."""
        return self.build.__name__

    def adopted(self) -> stepgraph.CompiledGraph:
        """Return the graph, adopted."""
        return stepgraph.adopt(self.build(), self.name, types=self.types)

    async def in_langgraph(self) -> Observed:
        """Run the program in LangGraph."""
        graph = self.build()
        graph.checkpointer = InMemorySaver()
        return await self._observe(graph, {"configurable": {"thread_id": "t"}}, Command)

    async def here(self, graph: Any, config: Mapping[str, Any]) -> Observed:
        """Run the program on a `MemoryRunner` or a `GraphClient`."""
        return await self._observe(graph, config, stepgraph.Command)

    async def _observe(self, graph: Any, config: Any, command: Any) -> Observed:
        observed = Observed()
        result = await graph.ainvoke(self.input, config, **self.options)
        observed.add(result)
        for answer in self.answers:
            resume = answer
            if answer is EACH:
                resume = {each.id: f"to {each.value}" for each in result["__interrupt__"]}
            result = await graph.ainvoke(command(resume=resume), config)
            observed.add(result)
        history = [] if self.loses else [snapshot async for snapshot in graph.aget_state_history(config)]
        for snapshot in history:
            begins = snapshot.next == ("__start__",)  # LangGraph shows empty values there
            observed.history.append(({} if begins else masked(snapshot.values), sorted(snapshot.next)))
        return observed


@dataclass
class Observed:
    """What a program returned, and the history that it left."""

    results: list[Any] = field(default_factory=list)
    interrupts: list[list[Any]] = field(default_factory=list)
    history: list[tuple[Any, list[str]]] = field(default_factory=list)
    """The values and the next nodes of each checkpoint, newest first."""

    def add(self, result: Any) -> None:
        """Add the result of one call."""
        waiting = result.get("__interrupt__", ()) if isinstance(result, Mapping) else ()
        self.results.append(masked(result))
        self.interrupts.append(sorted((masked(each.value) for each in waiting), key=repr))


def masked(value: Any) -> Any:
    """Return a value in a form that can be compared: messages as their parts, and without ids that were made up."""
    if isinstance(value, str):
        for pattern, mask in _MASKED:
            value = pattern.sub(mask, value)
        return str(value)
    if isinstance(value, BaseMessage):
        return (type(value).__name__, masked({**value.model_dump(exclude_defaults=True), "id": "<id>"}))
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items() if key != "__interrupt__"}
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(map(masked, value))
    return list(map(masked, value)) if isinstance(value, list) else value


class Programs:
    """The programs of a module."""

    def __init__(self) -> None:
        self.by_name: dict[str, Program] = {}

    def program(
        self, input: Any, *answers: Any, types: Sequence[type] = (), loses: bool = False, **options: Any
    ) -> Any:
        """Make a program of the decorated function, which builds the graph.

        Args:
            input: the input of the first ``invoke``.
            answers: the answer of each further one, as `Command`'s ``resume``.
            types: passed to `adopt`.
            loses: whether LangGraph's checkpoints lose some of the values.
            options: further arguments of ``invoke``.
        """

        def decorate(build: Callable[[], Any]) -> Program:
            program = Program(build, input, answers, tuple(types), loses, options)
            self.by_name[program.name] = program
            return program

        return decorate

    def params(self) -> list[Any]:
        """Return the programs for `pytest.mark.parametrize`."""
        return [pytest.param(program, id=name) for name, program in self.by_name.items()]
