"""One run of a thread in memory: the counterpart of the workflow in `stepgraph_workflows`.

Owns the loop over super-steps, and the commands that are applied between them. What a command does to the thread is
decided in `stepgraph.drive`, as it is on Temporal.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

from stepgraph.drive.apply_command import apply_command, check_command
from stepgraph.drive.commit_step import commit_step
from stepgraph.drive.thread_io import ThreadIO
from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import failure_from, node_error
from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, ThreadBusyError, from_wire
from stepgraph.execution.apply_writes import apply_writes
from stepgraph.execution.cancellation import is_cancellation
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.retry import delay_after_error
from stepgraph.execution.run_code import RunCode
from stepgraph.execution.run_node import run_task
from stepgraph.protocol.apply_writes_request import ApplyWritesRequest, ApplyWritesResult
from stepgraph.protocol.commands import CommandKind, ThreadCommand, config_after, runs_nodes
from stepgraph.protocol.config import RunnableConfig
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.task_request import task_request
from stepgraph.protocol.thread_errors import failure_reason


class MemoryRun:
    """A run of a thread. Several callers may send commands at once; each is applied between super-steps.

    Args:
        registry: the graph.
        thread: the thread that the run works on.
        config: the part of the caller's config that nodes see.
        read: returns the record of any checkpoint that the runner has.
    """

    def __init__(
        self,
        registry: GraphRegistry,
        thread: Thread,
        config: dict[str, Any],
        *,
        read: Callable[[ReadRequest], Awaitable[Record]],
    ) -> None:
        self.thread = thread
        self.open = False
        """Whether the thread waits at an interrupt or breakpoint, so that this run takes the next command. Otherwise
        the thread's next run takes it."""
        self.busy = False
        """Whether the run executes super-steps. Commands then wait for the end of the current one."""
        self.failure: str | None = None
        """Why the run failed, unless a node's failure says so."""
        self._code = RunCode(registry, thread.spec)
        self._config = config
        self._io = ThreadIO(read_checkpoint=read, apply_writes=self._apply_writes)
        self._commands: deque[tuple[CommandKind, ThreadCommand, Future[RunnableConfig]]] = deque()
        self._ended: Future[None] = Future()

    async def command(self, kind: CommandKind, command: ThreadCommand) -> RunnableConfig:
        """Apply a command and run on; return the config of the checkpoint that the command made.

        If the run is busy, the command waits for the end of the current super-step. An update returns as soon as it has
        been applied, any other command when the run is over.
        """
        if self.open or self.busy:
            check_command(self.thread, kind, command)
        if not self.busy:
            return await self._begin(kind, command)
        applied: Future[RunnableConfig] = Future()
        self._commands.append((kind, command, applied))
        config = await asyncio.wrap_future(applied)
        if runs_nodes(kind):
            await self.end()
        return config

    async def end(self) -> None:
        """Wait until the run is over. Raises the error that ended it."""
        await asyncio.shield(asyncio.wrap_future(self._ended))  # a caller that is cancelled does not end the run

    async def _begin(self, kind: CommandKind, command: ThreadCommand) -> RunnableConfig:
        """Apply the command with which the run begins, then run until the thread is idle."""
        self.busy, self._ended = True, Future()
        try:
            config = await self._apply(kind, command)
            self.open, self.failure = False, None
            await self._run_or_fail(running=runs_nodes(kind))
        except BaseException as error:
            while self._commands:
                too_late = ThreadBusyError("The run ended before it applied this command. Send it again.")
                self._commands.popleft()[2].set_exception(too_late)
            self._ended.set_exception(error)
            raise
        else:
            self._ended.set_result(None)
        finally:
            self.busy = False
        return config

    async def _run_or_fail(self, *, running: bool) -> None:
        try:
            await self._run(running=running)
        except StepgraphError as error:
            self.failure = failure_reason(error)
            raise

    async def _run(self, *, running: bool) -> None:
        """Run super-steps, and apply the commands that arrive meanwhile, until the thread is idle.

        Args:
            running: whether due tasks run; after an update they do not, until another command arrives.
        """
        thread = self.thread
        while True:
            running = await self._apply_commands() or running
            if running and (tasks := thread.due()):
                await asyncio.gather(*(self._perform(task) for task in tasks))
                if thread.failures:
                    await self._apply_commands()  # one may write the failed task's result, or fork from elsewhere
                    if thread.failures:
                        raise from_wire(node_error(thread).to_wire())
                elif thread.complete:  # before the commands that have arrived meanwhile
                    await self._commit()
            elif running and thread.complete:
                await self._commit()
            elif not self._commands:
                self.open = bool(thread.waiting_interrupts or thread.paused)
                return

    async def _commit(self) -> None:
        try:
            await commit_step(self.thread, self._config, self._io)
        except StepgraphError as error:
            raise from_wire(error.to_wire()) from error

    async def _apply_commands(self) -> bool:
        """Apply the commands that wait; return whether one of them was more than an update, so that due tasks run."""
        running = False
        while self._commands:
            kind, command, applied = self._commands.popleft()
            try:
                applied.set_result(await self._apply(kind, command))
                running = running or runs_nodes(kind)
            except StepgraphError as error:
                applied.set_exception(error)
        return running

    async def _apply(self, kind: CommandKind, command: ThreadCommand) -> RunnableConfig:
        """Apply one command; return the config of the thread's head after it."""
        config = config_after(command, self._config)
        try:
            await apply_command(self.thread, config, kind, command, io=self._io)
        except StepgraphError as error:
            raise from_wire(error.to_wire()) from error
        self._config = config
        return config_for(self.thread.thread_id, self.thread.head.id if self.thread.head else None)

    async def _apply_writes(self, thread: Thread, request: ApplyWritesRequest) -> ApplyWritesResult:
        authors, state = request.authors or (), request.state or {}
        return await apply_writes(self._code, request, authors, state, run_sync=asyncio.to_thread)

    async def _perform(self, task: Task) -> None:
        """Run a task, with the attempts that its node's retry policies allow."""
        thread, node = self.thread, self._code.registry.nodes.get(task.node)
        request = task_request(thread, task, self._config)
        thread.start(task)
        code = self._code.starting_at(time.time())
        for attempt in count(1):
            try:
                result = await run_task(code, request, thread.state, run_sync=asyncio.to_thread, attempt=attempt)
            except BaseException as error:  # a node that calls sys.exit() fails; it does not end its process
                if isinstance(error, KeyboardInterrupt) or is_cancellation(error):
                    raise
                delay = delay_after_error(node.retry_policies if node is not None else (), error, attempt)
                if delay is None:
                    thread.fail(task, failure_from(error, attempts=attempt))
                    return
                await asyncio.sleep(delay)
            else:
                thread.finish(task, result)
                return
