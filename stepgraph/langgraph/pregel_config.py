"""The config with which a node of LangGraph runs here: LangGraph's own keys, with functions of ours behind them.

LangGraph's writers send what a node returned to one function of the config, and its routers and tools read the state by
another. Both work on the channels of one task.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import inspect
import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs
from langgraph.runtime import ExecutionInfo, Runtime

from stepgraph.engine.constants import START
from stepgraph.execution.runtime import Runtime as OwnRuntime
from stepgraph.execution.task_code import CodeTask
from stepgraph.langgraph import private_names as names
from stepgraph.langgraph.channel_folds import AnyChannel
from stepgraph.langgraph.nested_graphs import NestedGraphs
from stepgraph.langgraph.value_classes import Compiled

T = TypeVar("T")
PendingWrite = tuple[str, Any]


@dataclasses.dataclass
class TaskWrites:
    """What one attempt at a task has written, by channel, in order: the state's channels and LangGraph's own."""

    name: str
    """The task's node."""
    writes: list[PendingWrite] = dataclasses.field(default_factory=list)
    path: tuple[Any, ...] = ()
    triggers: tuple[str, ...] = ()

    def to(self, channel: str) -> list[Any]:
        """Return what was written to a channel."""
        return [value for name, value in self.writes if name == channel]


def task_config(
    graph: Compiled,
    task: CodeTask,
    channels: Mapping[str, AnyChannel],
    written: TaskWrites,
    *,
    scratchpad: names.PregelScratchpad,
    nested: NestedGraphs,
) -> RunnableConfig:
    """Return the config for one attempt at a task.

    Args:
        graph: LangGraph's compiled graph.
        task: the task.
        channels: the graph's channels, with the values at the task's checkpoint.
        written: takes what the task writes.
        scratchpad: of `scratchpad_for`.
        nested: the graphs that the node calls.
    """
    request, node = task.request, graph.nodes[task.request.node]
    namespace = f"{request.node}{names.NS_END}{request.task_id}"
    reader = partial(read_channels, scratchpad, dict(channels), dict(graph.builder.managed), written)
    configurable = {
        names.SEND: written.writes.extend,
        names.READ: reader,
        names.CALL: call_inline,
        names.SCRATCHPAD: scratchpad,
        names.RUNTIME: _runtime(task.runtime),
        names.TASK_ID: request.task_id,
        "thread_id": request.thread_id,
        "checkpoint_ns": namespace,
        "checkpoint_id": None,
        **nested.config(),
    }
    own: RunnableConfig = {
        "metadata": task.config.get("metadata", {}),
        "tags": [*task.config.get("tags", ()), *(node.tags or ())],
        "configurable": {**task.config.get("configurable", {}), **configurable},
        "run_name": request.node,
    }
    config = merge_configs(graph.config, own)
    config["run_name"] = request.node if request.node != START else graph.get_name()
    return config


def read_channels(
    scratchpad: names.PregelScratchpad,
    channels: Mapping[str, AnyChannel],
    managed: Mapping[str, Any],
    written: TaskWrites,
    select: str | Sequence[str],
    fresh: bool = False,
) -> Any:
    """Return the values of channels, as LangGraph's ``local_read``: tools take its arguments apart.

    Args:
        scratchpad: the task's, from which managed values are computed.
        channels: the channels at the task's checkpoint.
        managed: the classes of the managed values.
        written: what the task has written.
        select: the name of one channel, or several names.
        fresh: whether the task's own writes count.
    """

    def current(name: str) -> AnyChannel:
        channel = channels[name]
        if fresh:
            channel = channel.copy()
            channel.update(written.to(name))  # nothing, too: it clears an EphemeralValue
        return channel

    if isinstance(select, str):
        channel = current(select)
        return channel.get() if channel.is_available() else None
    available = {name: channel for name in select if name in channels and (channel := current(name)).is_available()}
    values = {name: channel.get() for name, channel in available.items()}
    return values | {name: managed[name].get(scratchpad) for name in select if name in managed}


class InlineCall(concurrent.futures.Future[T]):
    """The finished call of a ``@task``, which may be awaited, too."""

    def __await__(self) -> Generator[None, None, T]:
        yield from ()
        return self.result()


def call_inline(function: Callable[..., Any], arguments: tuple[Any, Any], **_options: Any) -> Any:
    """Call a ``@task`` that a node calls, at once and in its activity. It has no checkpoint of its own."""
    positional, keyword = arguments
    if inspect.iscoroutinefunction(function):
        return asyncio.ensure_future(function(*positional, **keyword))
    call: InlineCall[Any] = InlineCall()
    try:
        call.set_result(function(*positional, **keyword))
    except Exception as error:
        call.set_exception(error)
    return call


class Counter:
    """Counts calls; LangGraph calls it for each interrupt."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        """Return the number of the call, from 0."""
        self.calls += 1
        return self.calls - 1


def scratchpad_for(task: CodeTask, answers: Sequence[Any], interrupts: Counter) -> names.PregelScratchpad:
    """Return what LangGraph's `interrupt` and its managed values look at.

    Args:
        task: the task.
        answers: the answers to the node's own interrupts.
        interrupts: counts these.
    """
    step = task.request.step
    return names.PregelScratchpad(
        step=step,
        stop=step + task.request.steps_left - 1,  # LangGraph counts the start node's super-step, too
        call_counter=itertools.count().__next__,
        interrupt_counter=interrupts,
        subgraph_counter=itertools.count().__next__,
        resume=list(answers),
        get_null_resume=lambda consume=False: None,
    )


def _runtime(runtime: OwnRuntime[Any]) -> Runtime[Any]:
    """Return a task's runtime as an object of LangGraph's class."""
    info = runtime.execution_info
    return Runtime(
        context=runtime.context,
        store=runtime.store,
        stream_writer=runtime.stream_writer,
        heartbeat=runtime.heartbeat,
        execution_info=None if info is None else ExecutionInfo(**vars(info)),
    )
