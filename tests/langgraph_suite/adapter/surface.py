"""LangGraph's methods of a compiled graph, on top of `MemoryRunner`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from adapter import streams
from adapter.not_applicable import not_applicable
from adapter.presentation import our_filter, shown_config, shown_error, shown_result, shown_snapshot
from adapter.threads import runner_for

from stepgraph.errors import StepgraphError
from stepgraph.testing.blocking import run_blocking

INSIDE: ContextVar[bool] = ContextVar("inside", default=False)
"""Whether the code runs in a node of a graph."""

runs = 0
"""How many times a graph has run here."""


@contextmanager
def _shown() -> Iterator[None]:
    """Raise stepgraph's errors as LangGraph's."""
    try:
        yield
    except StepgraphError as error:
        raise shown_error(error) from error


class Surface:
    """LangGraph's methods. A subclass says which graph of stepgraph's runs, and where its threads are."""

    compiled: Any
    """The graph, compiled or adopted by stepgraph."""
    checkpointer: Any
    zeros: Mapping[str, Any]
    """What LangGraph shows of the state before anything is written."""

    def _runner(self, config: Any) -> tuple[Any, Any]:
        """Return the runner, and the config with a thread id: without a checkpointer, each call has its own thread."""
        config = dict(config or {})
        configurable = dict(config.get("configurable") or {})
        if configurable.get("checkpoint_ns"):
            not_applicable("subgraphs")
        if not self.checkpointer:
            configurable = {"thread_id": str(uuid.uuid4()), **configurable}
        return runner_for(self.compiled, self.checkpointer), {**config, "configurable": configurable}

    def invoke(self, input: Any, config: Any = None, **options: Any) -> Any:
        """Run the graph."""
        return run_blocking(self.ainvoke(input, config, **options))

    async def ainvoke(self, input: Any, config: Any = None, *, stream_mode: Any = "values", **options: Any) -> Any:
        """Run the graph. With another stream mode than values, return the list of chunks."""
        if stream_mode != "values":
            return [chunk async for chunk in self.astream(input, config, stream_mode=stream_mode, **options)]
        if options.pop("version", "v1") != "v1" or options.pop("subgraphs", False):
            not_applicable("streams, but for values and updates")
        runner, config = self._runner(config)
        with _shown():
            return shown_result(await _run(runner, input, config, options))

    def stream(self, input: Any, config: Any = None, **options: Any) -> Iterator[Any]:
        """Run the graph, then yield what it would have streamed."""
        chunks, error = run_blocking(self._stream(input, config, **options))
        yield from chunks
        if error is not None:
            raise error

    async def astream(self, input: Any, config: Any = None, **options: Any) -> AsyncIterator[Any]:
        """Run the graph, then yield what it would have streamed."""
        chunks, error = await self._stream(input, config, **options)
        for chunk in chunks:
            yield chunk
        if error is not None:
            raise error

    async def _stream(
        self, input: Any, config: Any, *, stream_mode: Any = "updates", **options: Any
    ) -> tuple[list[Any], BaseException | None]:
        stream_mode = stream_mode or "updates"
        modes = streams.modes_of(stream_mode, options)
        runner, config = self._runner(config)
        thread = {"configurable": {"thread_id": config["configurable"].get("thread_id")}}
        before, failure = self._oldest_first(runner, thread), None
        try:
            with _shown():
                await _run(runner, input, config, options)
        except Exception as error:
            failure = error
        after = self._oldest_first(runner, thread)
        found = (
            streams.chunks(modes, before, after, shown_snapshot(runner.get_state(thread), self.zeros)) if after else ()
        )
        return [chunk if isinstance(stream_mode, str) else (mode, chunk) for mode, chunk in found], failure

    def _oldest_first(self, runner: Any, thread: Any) -> list[Any]:
        try:
            return [shown_snapshot(snapshot, self.zeros) for snapshot in runner.get_state_history(thread)][::-1]
        except StepgraphError:  # there is no such thread, or no usable id: the run says so
            return []

    def get_state(self, config: Any, *, subgraphs: bool = False) -> Any:
        """Return the snapshot of a checkpoint."""
        runner, config = self._runner(config)
        if subgraphs:
            not_applicable("subgraphs")
        with _shown():
            return shown_snapshot(runner.get_state(config), self.zeros)

    async def aget_state(self, config: Any, *, subgraphs: bool = False) -> Any:
        """Return the snapshot of a checkpoint."""
        return self.get_state(config, subgraphs=subgraphs)

    def get_state_history(
        self, config: Any, *, filter: Any = None, before: Any = None, limit: int | None = None
    ) -> Iterator[Any]:
        """Yield the checkpoints of a thread, newest first."""
        runner, config = self._runner(config)
        with _shown():
            found = runner.get_state_history(config, filter=our_filter(filter), before=before, limit=limit)
            yield from (shown_snapshot(snapshot, self.zeros) for snapshot in found)

    async def aget_state_history(self, config: Any, **options: Any) -> AsyncIterator[Any]:
        """Yield the checkpoints of a thread, newest first."""
        for snapshot in self.get_state_history(config, **options):
            yield snapshot

    def update_state(self, config: Any, values: Any, as_node: Any = None, task_id: Any = None) -> Any:
        """Write values to a thread's state."""
        return run_blocking(self.aupdate_state(config, values, as_node, task_id))

    async def aupdate_state(self, config: Any, values: Any, as_node: Any = None, task_id: Any = None) -> Any:
        """Write values to a thread's state."""
        runner, config = self._runner(config)
        with _shown():
            return shown_config(await runner.aupdate_state(config, values, as_node, task_id))

    def bulk_update_state(self, config: Any, supersteps: Any) -> Any:
        """Apply several updates."""
        return run_blocking(self.abulk_update_state(config, supersteps))

    async def abulk_update_state(self, config: Any, supersteps: Any) -> Any:
        """Apply several updates."""
        runner, config = self._runner(config)
        with _shown():
            return shown_config(await runner.abulk_update_state(config, supersteps))

    def batch(self, inputs: Any, config: Any = None, **options: Any) -> list[Any]:
        """Run the graph once for each input, with one config or a list of them."""
        configs = config if isinstance(config, list) else [config] * len(inputs)
        return [self.invoke(input, one, **options) for input, one in zip(inputs, configs, strict=True)]

    async def abatch(self, inputs: Any, config: Any = None, **options: Any) -> list[Any]:
        """Run the graph once for each input, with one config or a list of them."""
        configs = config if isinstance(config, list) else [config] * len(inputs)
        return [await self.ainvoke(input, one, **options) for input, one in zip(inputs, configs, strict=True)]

    def _not_streamed(self, *arguments: Any, **options: Any) -> Any:
        not_applicable("streams, but for values and updates")

    stream_events = astream_events = astream_log = _not_streamed

    def _no_subgraphs(self, *arguments: Any, **options: Any) -> Any:
        not_applicable("subgraphs")

    get_subgraphs = aget_subgraphs = _no_subgraphs


async def _run(runner: Any, input: Any, config: Any, options: dict[str, Any]) -> Any:
    global runs
    runs += 1
    inside = INSIDE.set(True)
    try:
        return await runner.ainvoke(
            input, config, **{key: value for key, value in options.items() if value is not None}
        )
    finally:
        INSIDE.reset(inside)
