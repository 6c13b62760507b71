"""Stories: what clients do with threads while workers and servers are killed under them.

A story goes on through every error that a killed server causes. It remembers what the server has acknowledged, which
must be in the thread's history, and what it has not, which may be.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client

from stepgraph import Command, GraphClient
from stepgraph.errors import EmptyInputError, NodeError, StepgraphError, ThreadBusyError
from stepgraph.temporal.executions import latest_run
from tests.chaos.processes import TASK_QUEUE
from tests.chaos.shapes import GRAPHS

AGAIN_SECONDS = 0.3
"""The pause after a call that failed because of a killed server."""


@dataclass
class Story:
    """A thread, and what was asked of it."""

    graph: str
    thread: str = field(default_factory=lambda: f"chaos-{uuid.uuid4().hex[:12]}")
    inputs: int = 1
    """How many inputs it takes."""
    acknowledged: list[str] = field(default_factory=list)
    """Marks of inputs, updates and answers that a call has acknowledged."""
    unknown: list[str] = field(default_factory=list)
    """Marks of calls that ended in an error: it is not known whether they had an effect."""
    updates: list[str] = field(default_factory=list)
    """The marks that came by an update."""
    raw_errors: Counter[str] = field(default_factory=Counter)
    """Errors that are not stepgraph's, by type."""
    failures: list[str] = field(default_factory=list)
    """Errors of nodes: there should be none."""
    finished: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {"configurable": {"thread_id": self.thread}}

    def mark(self) -> str:
        return f"mark-{uuid.uuid4().hex[:12]}"


class Teller:
    """Tells stories on a server that comes and goes."""

    def __init__(self, client: Client, stopping: asyncio.Event) -> None:
        self._client = client
        self._stopping = stopping
        self.stories: list[Story] = []

    async def tell_until_stopped(self) -> None:
        """Tell one story after the other, each to its end."""
        while not self._stopping.is_set():
            graph = random.choice(sorted(GRAPHS))
            # An input would take the place of a question that waits, so a thread that asks gets one input.
            story = Story(graph, inputs=1 if graph == "chaos-asking" else random.choice([1, 1, 3]))
            self.stories.append(story)
            await self._tell(story)

    async def _tell(self, story: Story) -> None:
        await asyncio.gather(*(self._give_input(story) for _ in range(story.inputs)))
        if story.graph == "chaos-chain" and random.random() < 0.5:
            await self._update(story)
        await self._settle(story)
        if story.graph == "chaos-fan" and random.random() < 0.5:
            await self._fork(story)

    def _of(self, story: Story) -> GraphClient:
        schema = GRAPHS[story.graph].registry.schema
        return GraphClient(self._client, story.graph, task_queue=TASK_QUEUE, schema=schema, check_workers=False)

    async def _give_input(self, story: Story) -> None:
        """Give the thread an input, as one of several clients that do so at once."""
        mark = story.mark()
        started = await self._once(
            story, mark, lambda: self._of(story).astart({"log": [mark]}, story.config, on_busy="enqueue")
        )
        if not started:
            story.unknown.append(mark)

    async def _update(self, story: Story) -> None:
        mark = story.mark()
        story.updates.append(mark)
        applied = await self._once(
            story, mark, lambda: self._of(story).aupdate_state(story.config, {"log": [mark]}, "human")
        )
        if not applied:
            story.unknown.append(mark)

    async def _fork(self, story: Story) -> None:
        """Grow a new thread from a checkpoint in the middle."""
        history = [each async for each in self._of(story).aget_state_history(story.config)]
        middle = next((each for each in history if each.next == ("join",)), None)
        if middle is None:
            return
        branch = Story(story.graph, inputs=0)
        forked = await self._once(
            branch, None, lambda: self._of(story).astart_fork(middle.config, None, None, branch.thread)
        )
        if forked:
            self.stories.append(branch)
            await self._settle(branch)

    async def _once(self, story: Story, mark: str | None, call: Callable[[], Awaitable[Any]]) -> bool:
        """Make a call once. Return whether it was acknowledged."""
        try:
            await call()
        except Exception as error:
            self._count(story, error)
            return False
        if mark is not None:
            story.acknowledged.append(mark)
        return True

    async def _settle(self, story: Story) -> None:
        """Wait until the thread is done; answer what it asks, and resume what fails."""
        client = self._of(story)
        answering: Command | None = None
        while True:
            try:
                run = await client.aget_run(story.config) if answering is None else None
                if answering is not None:
                    values = await client.ainvoke(answering, story.config)
                elif run is not None and not story.failures:
                    values = await run.result()
                else:
                    values = await client.ainvoke(None, story.config)
                answering = None
                state = await client.aget_state(story.config)
                if "__interrupt__" in values or state.interrupts:
                    mark = story.mark()
                    story.unknown.append(mark)
                    answering = Command(resume=mark)
                elif not state.next and not await self._has_open_run(client, story):
                    story.finished = True
                    return
                elif not state.next:
                    await asyncio.sleep(AGAIN_SECONDS)
                else:
                    values = await client.ainvoke(None, story.config)
            except ThreadBusyError:
                answering = None
                await asyncio.sleep(AGAIN_SECONDS)
            except EmptyInputError:  # no input has arrived
                story.finished = True
                return
            except NodeError as error:
                story.failures.append(str(error))
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception as error:
                answering = None
                self._count(story, error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _has_open_run(self, client: GraphClient, story: Story) -> bool:
        """Return whether a run is open: an input may be queued behind the one that has finished."""
        run = await latest_run(client.client, story.thread)
        return run is not None and run.is_open

    def _count(self, story: Story, error: Exception) -> None:
        if not isinstance(error, StepgraphError):
            story.raw_errors[type(error).__name__] += 1
