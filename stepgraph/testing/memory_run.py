"""One run of a thread in memory, as a Temporal workflow would have it: the loop, and the orders in between."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from stepgraph.engine.checkpoint import Task
from stepgraph.engine.failures import failure_from, node_error
from stepgraph.engine.record import Record
from stepgraph.engine.thread import Thread
from stepgraph.errors import StepgraphError, ThreadBusyError, from_wire
from stepgraph.execution.apply_command import CommandIO, apply_command, check_command
from stepgraph.execution.registry import GraphRegistry
from stepgraph.execution.run_node import route_by_hand, run_task
from stepgraph.protocol.commands import CommandKind, InvokeCommand, ThreadCommand
from stepgraph.protocol.opening import ReadRequest
from stepgraph.protocol.snapshot import config_for
from stepgraph.protocol.task_request import RouteRequest, task_request


class MemoryRun:
    """A thread at work. Several may order something of it at once; each is carried out between super-steps.

    Args:
        code: the graph.
        thread: what the run works on.
        config: what nodes see of the caller's config.
        read: gives the record of any checkpoint that the runner knows.
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
        """Whether it waits for people, and orders go to it; the thread's next run takes them otherwise."""
        self.busy = False
        """Whether it is at work, and orders wait for the next boundary."""
        self._registry = registry
        self._config = config
        self._outside = CommandIO(read_checkpoint=read, ask_routers=self._route)
        self._commands: deque[tuple[CommandKind, ThreadCommand, Future[dict[str, Any]]]] = deque()
        self._ended: Future[None] = Future()

    async def command(self, kind: CommandKind, command: ThreadCommand) -> dict[str, Any]:
        """Carries out an order and runs on; the config of the checkpoint that the order made.

        While the run is at work the order waits for its turn; an update then returns without waiting for the rest.
        """
        if self.open or self.busy:
            check_command(self.thread, self._registry, kind, command)
        if not self.busy:
            return await self._begin(kind, command)
        done: Future[dict[str, Any]] = Future()
        self._commands.append((kind, command, done))
        made = await asyncio.wrap_future(done)
        if kind != "update":
            await asyncio.wrap_future(self._ended)
        return made

    async def _begin(self, kind: CommandKind, command: ThreadCommand) -> dict[str, Any]:
        self.busy, self._ended = True, Future()
        try:
            made = await self._carry_out(kind, command)
            self.open = False
            await self._work(running=kind != "update")
        except BaseException as error:
            while self._commands:
                late = ThreadBusyError("The run ended before the turn of this came. Ask again.")
                self._commands.popleft()[2].set_exception(late)
            self._ended.set_exception(error)
            self._ended.exception()  # whoever waits is told; if nobody does, that is no fault
            raise
        else:
            self._ended.set_result(None)
        finally:
            self.busy = False
        return made

    async def _work(self, *, running: bool) -> None:
        """Super-step after super-step, with the orders that arrived in between, until the thread stands still."""
        thread = self.thread
        while True:
            running = await self._orders_in_between() or running
            if running and (tasks := thread.due()):
                await asyncio.gather(*(self._perform(task) for task in tasks))
                if thread.failures:
                    await self._orders_in_between()  # one of them may mend it, or go on from elsewhere
                    if thread.failures:
                        raise from_wire(node_error(thread).to_wire())
                elif thread.complete:
                    thread.commit()
            elif running and thread.complete:
                thread.commit()
            elif not self._commands:
                self.open = bool(thread.waiting_interrupts or thread.paused)
                return

    async def _orders_in_between(self) -> bool:
        """Carries out what arrived; whether something of it is to be run."""
        to_run = False
        while self._commands:
            kind, command, done = self._commands.popleft()
            try:
                done.set_result(await self._carry_out(kind, command))
                to_run = to_run or kind != "update"
            except StepgraphError as error:
                done.set_exception(error)
        return to_run

    async def _carry_out(self, kind: CommandKind, command: ThreadCommand) -> dict[str, Any]:
        """Carries out one order; the config of the thread's head then."""
        config = command.config if isinstance(command, InvokeCommand) else self._config
        try:
            await apply_command(self.thread, self._registry, config, kind, command, io=self._outside)
        except StepgraphError as error:
            raise from_wire(error.to_wire()) from error
        self._config = config
        return config_for(self.thread.thread_id, self.thread.head.id if self.thread.head else None)

    async def _route(self, request: RouteRequest) -> tuple[str, ...]:
        return await route_by_hand(self._registry, request, run_sync=asyncio.to_thread)

    async def _perform(self, task: Task) -> None:
        thread = self.thread
        request = task_request(thread, task, self._config)
        thread.start(task)
        try:
            result = await run_task(self._registry, request, thread.state, run_sync=asyncio.to_thread)
        except (Exception, SystemExit) as error:  # a node must not end its worker
            thread.fail(task, failure_from(error, attempts=1))
        else:
            thread.finish(task, result)
