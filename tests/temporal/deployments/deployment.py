"""One deployment for many threads: a worker of the first version, then one of the second, then one of mended code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from temporalio.client import Client

from tests.conftest import Stage, replayer
from tests.temporal.deployments.changes import Change, State
from tests.temporal.deployments.page import anonymous, quoted_error
from tests.temporal.deployments.trial import Trial, Way
from tests.temporal.deployments.versions import load

OTHER_WORKER_ATTEMPTS = "stepgraph_activities.other_worker.OTHER_WORKER_ATTEMPTS"
"""How often a task is tried that another worker's code may do. The tests with one worker at a time need not wait."""

AT_ONCE = 24
"""How many trials do something at the same time."""


class Cell(NamedTuple):
    """One cell of the table."""

    change: Change
    state: State

    def __str__(self) -> str:
        return f"{self.change.name}-{self.state}"


def cells(changes: Sequence[Change]) -> list[Any]:
    """Return the cells of changes as the parameters of a test; one with an open fault is expected to fail."""
    return [
        pytest.param(
            Cell(change, state),
            id=str(Cell(change, state)),
            marks=[pytest.mark.xfail(strict=True, reason=change.faults[state])] if state in change.faults else [],
        )
        for change in changes
        for state in State
    ]


class Deployment:
    """Runs the trials of some cells together.

    Args:
        client: a connected client.
        cells: the cells to try.
        folder: for the source texts.
    """

    def __init__(self, client: Client, cells: Sequence[Cell], folder: Path) -> None:
        self._stage = Stage(client)
        changes = {cell.change.name: cell.change for cell in cells}
        self._graphs = {
            name: [load(name, code, number, folder) for number, code in enumerate(_codes(change), start=1)]
            for name, change in changes.items()
        }
        self._trials = {
            str(cell): [
                Trial(self._stage, cell.change, cell.state, way, self._graphs[cell.change.name])
                for way in (Way if cell.state is State.WAITING else [Way.GO_ON])
            ]
            for cell in cells
        }

    async def run(self) -> None:
        """Begin all threads, replace the workers twice, and look back."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OTHER_WORKER_ATTEMPTS, 1)
            await self._replace_workers()
        replays = replayer(self._stage.client, [graphs[1] for graphs in self._graphs.values()])
        await self._each_alone(partial(Trial.read_alone, replays=replays))

    async def _replace_workers(self) -> None:
        for version, steps in enumerate(
            ([Trial.begin], [Trial.go_on], [Trial.go_on_with_mended_code, Trial.look_back])
        ):
            async with self._stage.serving(*(graphs[version] for graphs in self._graphs.values())):
                for step in steps:
                    await self._each(step)
            if version == 0:
                await self._each_alone(Trial.read_as_left)

    def check(self, cell: Cell) -> None:
        """Raise what the trials of a cell have found to be wrong."""
        change, state = cell
        for trial in self._trials[str(cell)]:
            if trial.error is not None:
                trial.error.add_note(f"{cell}, {trial.way}, {trial.thread_id}")
                raise trial.error
        stop = change.outcome(state).stop
        if stop is not None and change.quoted is state:
            assert anonymous(self._trials[str(cell)][0].message, change.name) == quoted_error(stop)

    async def _each_alone(self, step: Callable[[Trial], Coroutine[Any, Any, None]]) -> None:
        """Take a step of every trial while there is no worker.

        The server lists a worker for minutes after its end, so that a reader waits for its answer. It need not here.
        """
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("stepgraph.client.run_queries.WORKER_PATIENCE", timedelta())
            await self._each(step)

    async def _each(self, step: Callable[[Trial], Coroutine[Any, Any, None]]) -> None:
        """Take a step of every trial that has found nothing wrong yet."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def take(trial: Trial) -> None:
            async with limit:
                try:
                    await step(trial)
                except (Exception, pytest.fail.Exception) as error:
                    trial.error = error

        trials = [trial for group in self._trials.values() for trial in group if trial.error is None]
        await asyncio.gather(*map(take, trials))


def _codes(change: Change) -> tuple[Any, Any, Any]:
    return change.before, change.after, change.mended or change.after
