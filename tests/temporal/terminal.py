"""The `temporal` command, run as an operator would run it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from tests.conftest import Stage


@dataclass(frozen=True)
class CommandResult:
    """The exit status and the output of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """Runs the `temporal` command against the server and the task queue of a stage."""

    def __init__(self, stage: Stage, binary: str) -> None:
        self.stage = stage
        self.binary = binary
        self.started: list[tuple[str, str]] = []
        """Thread and run id of every run that was started here. Such a run does not record which run came before it."""

    async def run(self, *words: str) -> CommandResult:
        """Run the command with these arguments, to its end."""
        address = self.stage.client.service_client.config.target_host
        process = await asyncio.create_subprocess_exec(
            *(self.binary, *words, "--address", address, "--output", "json"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return CommandResult(process.returncode or 0, out.decode(), err.decode())

    async def start(self, config: dict[str, Any], type: str, *arguments: str) -> str:
        """Start a run and return its run id. Each argument is the text of an input, or a flag."""
        inputs = [
            word
            for argument in arguments
            for word in ([argument] if argument.startswith("--") else ["--input", argument])
        ]
        started = await self.run(
            *("workflow", "start", "--type", type, "--task-queue", self.stage.task_queue),
            *("--workflow-id", thread_id(config), *inputs),
        )
        assert started.status == 0, started.err
        run_id: str = started.json["runId"]
        self.started.append((thread_id(config), run_id))
        return run_id

    async def result(self, config: dict[str, Any]) -> Any:
        """Return what `temporal workflow result` prints of the thread's latest run, once the run has ended."""
        return (await self.run("workflow", "result", "--workflow-id", thread_id(config))).json

    async def failure(self, config: dict[str, Any]) -> tuple[str, str]:
        """Return type and message of the failure of the thread's latest run."""
        result = await self.result(config)
        assert result["status"] == "FAILED", result
        failure = result["closeEvent"]["workflowExecutionFailedEventAttributes"]["failure"]
        return failure["applicationFailureInfo"]["type"], failure["message"]

    async def query(self, config: dict[str, Any], type: str, *inputs: str, run_id: str | None = None) -> Any:
        """Return the answer to a query, read as JSON. The command prints empty lists as null."""
        printed = await self.run(
            *("workflow", "query", "--type", type, "--workflow-id", thread_id(config)),
            *(word for text in inputs for word in ("--input", text)),
            *(("--run-id", run_id) if run_id else ()),
        )
        assert printed.status == 0, printed.err
        (answer,) = printed.json["queryResult"]
        return answer


def thread_id(config: dict[str, Any]) -> str:
    """Return the thread id of a config."""
    value: str = config["configurable"]["thread_id"]
    return value
