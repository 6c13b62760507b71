"""Runs one task of an adopted graph: a node with its writers, as LangGraph has put them together.

What a node's writers send says everything: a value for a channel is a write, ``branch:to:<node>`` leads to a node, and
a ``Send`` is a task with an input of its own. What they send to joins is ignored, for joins are the engine's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.errors import GraphInterrupt, ParentCommand, is_invalid_resume
from langgraph.types import Command, Interrupt

from stepgraph.engine.changes import NOTHING
from stepgraph.engine.checkpoint import InterruptRequest
from stepgraph.engine.constants import START
from stepgraph.errors import InvalidUpdateError, SerializationError
from stepgraph.execution.scratchpad import interrupt_id
from stepgraph.execution.task_code import CodeTask, TaskOutput
from stepgraph.langgraph import private_names as names
from stepgraph.langgraph.channel_folds import restored
from stepgraph.langgraph.nested_graphs import NestedGraphs
from stepgraph.langgraph.pregel_config import Counter, PendingWrite, TaskWrites, scratchpad_for, task_config
from stepgraph.langgraph.value_classes import Compiled
from stepgraph.protocol.send import Send
from stepgraph.serde.plain_json import RoundTripError
from stepgraph.serde.sizes import TOO_DEEP, is_too_deep
from stepgraph.serde.tagged_values import TaggedCodec

log = logging.getLogger(__name__)

_OTHER_FORM = (
    "Asynchronous implementation of",
    "Synchronous implementation of",
    "StructuredTool does not support",
    "Tool does not support",
)
"""How the messages of LangChain's `NotImplementedError`s begin that say: call the sync, or the async, form instead."""


@dataclass(frozen=True)
class Attempt:
    """What one attempt at a task works with."""

    config: RunnableConfig
    written: TaskWrites
    nested: NestedGraphs
    interrupts: Counter
    """Counts the interrupts of the node itself."""


class PregelTaskCode:
    """Runs the tasks of one adopted graph.

    Args:
        graph: LangGraph's compiled graph.
        codec: for what travels beside the channels: interrupts, and the values of graphs inside of nodes.
    """

    def __init__(self, graph: Compiled, codec: TaggedCodec) -> None:
        self._graph = graph
        self._codec = codec

    async def run(self, task: CodeTask) -> TaskOutput:
        """Run a task. Raises whatever its node, its routers or its writers raise.

        An answer that does not fit the ``response_schema`` of its interrupt is left aside: the node runs again, and
        asks once more.
        """
        attempt = self._attempt(task)
        try:
            return await self._run(task, attempt)
        except Exception as error:
            if not is_invalid_resume(error) or not attempt.nested.refuse_last_answer():
                raise
            log.warning("Node %r refuses an answer, and asks again: %s", task.request.node, error)
            return await self._run(task, self._attempt(task, attempt.nested.asked))

    async def _run(self, task: CodeTask, attempt: Attempt) -> TaskOutput:
        node = self._graph.nodes[task.request.node]
        try:
            if task.request.node == START:
                await self._write(node, task.input.get(names.ROOT, task.input), attempt.config)
            else:
                await self._call(node, self._input_of(task, node, attempt.config), attempt, task)
        except GraphInterrupt as interrupted:
            if not interrupted.args or not interrupted.args[0]:
                raise  # a node's own, which asks nothing
            return TaskOutput(interrupt=self._interrupt(task, attempt, interrupted.args[0][0]))
        except ParentCommand as parent:
            command = self._own_command(task, parent.args[0])
            attempt.written.writes.clear()
            await self._write(node, command, attempt.config)
        return self._output(task, attempt.written.writes)

    async def route(self, task: CodeTask, update: Mapping[str, Any]) -> TaskOutput:
        """Return where a node leads whose output is the update."""
        attempt = self._attempt(task)
        output = update[names.ROOT] if names.ROOT in update else dict(update)
        await self._write(self._graph.nodes[task.request.node], output, attempt.config)
        return self._output(task, attempt.written.writes)

    def _attempt(self, task: CodeTask, asked: Sequence[str | None] | None = None) -> Attempt:
        """Return what an attempt at a task works with. The channels have the values at the task's checkpoint.

        ``asked`` is `NestedGraphs.asked`, if it is not what was recorded.
        """
        request, builder = task.request, self._graph.builder
        written = TaskWrites(request.node)
        channels = {name: restored(each, task.values.get(name, NOTHING)) for name, each in builder.channels.items()}
        answers = [self._codec.decode(answer) for answer in request.answers]
        recorded = request.nested if asked is None else {**(request.nested or {}), "asked": asked}
        nested = NestedGraphs(request.thread_id, self._codec, answers, recorded)
        interrupts = Counter()
        scratchpad = scratchpad_for(task, nested.own_answers, interrupts)
        config = task_config(self._graph, task, channels, written, scratchpad=scratchpad, nested=nested)
        return Attempt(config, written, nested, interrupts)

    def _input_of(self, task: CodeTask, node: Any, config: RunnableConfig) -> Any:
        """Return what the node gets: the input that it was sent, or the channels that it reads."""
        if task.request.sent:
            return task.input
        value = config["configurable"][names.READ](node.channels, False)
        return value if node.mapper is None else node.mapper(value)

    async def _call(self, node: Any, value: Any, attempt: Attempt, task: CodeTask) -> None:
        """Run a node and its writers: a plain function with plain routers on a thread, everything else on the loop.

        LangChain has objects that run in one of both ways only, an agent's middleware for example, and say so by a
        `NotImplementedError` before they do anything. They are then run in the other way.
        """
        runnable: Runnable[Any, Any] = node.node
        in_thread = partial(runnable.invoke, value, attempt.config)
        if runs_on_thread(self._graph, task.request.node):
            await task.run_sync(in_thread)
            return
        try:
            await runnable.ainvoke(value, attempt.config)
        except NotImplementedError as error:
            if not _lacks_async(error):
                raise
            attempt.written.writes.clear()
            await task.run_sync(in_thread)

    async def _write(self, node: Any, output: Any, config: RunnableConfig) -> None:
        """Run a node's writers and routers alone, on what counts as the node's output."""
        writers = node.copy({"bound": RunnableLambda(lambda _: output)}).node
        await writers.ainvoke(None, config)

    def _own_command(self, task: CodeTask, command: Command[Any]) -> Command[Any]:
        """Return the command that a graph in the node's body sent to this graph, its parent."""
        if command.graph == Command.PARENT:
            raise InvalidUpdateError(
                f"Node {task.request.node!r} sent a Command to the parent of its graph, which has none. Leave "
                "graph=Command.PARENT out.",
                nodes=[task.request.node],
            )
        return Command(update=command.update, goto=command.goto)

    def _interrupt(self, task: CodeTask, attempt: Attempt, interrupt: Interrupt[Any]) -> InterruptRequest:
        """Return the request for an answer: to the node's own interrupt, or to the first one of a graph inside of it.

        Of several interrupts of such a graph, the others are requested when the first has been answered.
        """
        request = task.request
        try:
            value = self._codec.encode(interrupt.value)
            if is_too_deep(value):
                raise RoundTripError(TOO_DEEP)
        except RoundTripError as error:
            raise SerializationError(
                f"What node {request.node!r} passes to interrupt() cannot travel to another process: {error}.",
                nodes=[request.node],
            ) from error
        is_own = attempt.interrupts.calls > len(attempt.nested.own_answers)
        return InterruptRequest(
            id=interrupt_id(request.idempotency_key, len(request.answers)),
            value=value,
            nested=attempt.nested.export(request.node, None if is_own else interrupt.id),
        )

    def _output(self, task: CodeTask, writes: Sequence[PendingWrite]) -> TaskOutput:
        """Sort what the writers sent."""
        request, spec = task.request, task.spec
        values: list[dict[str, Any]] = []
        goto: dict[str, None] = {}
        sends: list[Send] = []
        for channel, value in writes:
            if channel == names.SENDS:
                if spec.has_node(value.node):
                    sends.append(Send(value.node, value.arg))
                else:
                    log.warning("Node %r sent to %r, which is no node: ignored.", request.node, value.node)
            elif channel.startswith(names.BRANCH):
                target = channel.removeprefix(names.BRANCH)
                if not spec.has_node(target):
                    log.warning("Node %r leads to %r, which is no node: ignored.", request.node, target)
                elif target not in spec.targets(request.node):
                    goto[target] = None
            elif channel in self._graph.builder.channels:
                if not values or channel in values[-1]:
                    values.append({})
                values[-1][channel] = value
        return TaskOutput(tuple(values), tuple(goto), tuple(sends))


def runs_on_thread(graph: Compiled, name: str) -> bool:
    """Return whether a node and its routers are plain functions that are not async."""
    bound = graph.nodes[name].bound
    function = getattr(bound, "func", None)
    if function is None or getattr(getattr(bound, "afunc", None), "__wrapped__", None) is not function:
        return False
    routers = graph.builder.branches.get(name, {}).values()
    return all(getattr(router.path, "func", None) is not None for router in routers)


def _lacks_async(error: NotImplementedError) -> bool:
    """Return whether an error is LangChain's about a method that is there in its other form only."""
    return str(error).startswith(_OTHER_FORM)
