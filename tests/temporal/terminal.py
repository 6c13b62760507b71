"""The `temporal` command, as an operator types it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.conftest import Stage


@dataclass(frozen=True)
class Told:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """The `temporal` command, against the server and the task queue of a stage."""

    def __init__(self, stage: Stage, binary: str) -> None:
        self.stage = stage
        self.binary = binary
        self.started: list[tuple[str, str]] = []
        """Thread and run id of every run started here: a run does not know which run of its thread was before it."""

    async def run(self, *words: str) -> Told:
        address = self.stage.client.service_client.config.target_host
        process = await asyncio.create_subprocess_exec(
            *(self.binary, *words, "--address", address, "--output", "json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Told(process.returncode or 0, out.decode(), err.decode())

    async def start(self, config: dict[str, Any], type: str, *arguments: str) -> str:
        """Starts a run; further arguments are inputs as text, or flags. Its run id."""
        inputs = [word for given in arguments for word in ([given] if given.startswith("--") else ["--input", given])]
        told = await self.run(
            *("workflow", "start", "--type", type, "--task-queue", self.stage.task_queue),
            *("--workflow-id", thread_id(config), *inputs),
        )
        assert told.status == 0, told.err
        run_id: str = told.json["runId"]
        self.started.append((thread_id(config), run_id))
        return run_id

    async def result(self, config: dict[str, Any]) -> Any:
        """What `temporal workflow result` tells of the thread's latest run, once it has ended."""
        return (await self.run("workflow", "result", "--workflow-id", thread_id(config))).json

    async def failure(self, config: dict[str, Any]) -> tuple[str, str]:
        """Type and message of the failure of the thread's latest run."""
        told = await self.result(config)
        assert told["status"] == "FAILED", told
        failure = told["closeEvent"]["workflowExecutionFailedEventAttributes"]["failure"]
        return failure["applicationFailureInfo"]["type"], failure["message"]

    async def query(self, config: dict[str, Any], type: str, *inputs: str, run_id: str | None = None) -> Any:
        """The answer to a query, read as JSON. (The command prints empty lists as null.)"""
        told = await self.run(
            *("workflow", "query", "--type", type, "--workflow-id", thread_id(config)),
            *(word for given in inputs for word in ("--input", given)),
            *(("--run-id", run_id) if run_id else ()),
        )
        assert told.status == 0, told.err
        (answer,) = told.json["queryResult"]
        return answer


def thread_id(config: dict[str, Any]) -> str:
    found: str = config["configurable"]["thread_id"]
    return found
