"""Command lines with odd arguments, in this process and in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given

from tests.attack.budget import examples
from tests.attack.command_lines import APPS, Words, run_line, starter_lines, worker_lines, write_graph_files
from tests.attack.live_thread import LiveThread
from tests.attack.oracle import Oracle
from tests.conftest import ROOT
from tests.patience import PATIENCE


@dataclass(frozen=True)
class Shell:
    """Where command lines run: with a thread that waits, and a folder of files that are no graphs."""

    places: dict[str, str]
    env: dict[str, str]
    folder: Path


@pytest.fixture(scope="module")
async def shell(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shell]:
    folder = tmp_path_factory.mktemp("files")
    write_graph_files(folder)
    thread = LiveThread(oracle.stage, "sync-thread")
    await thread.bring_into("waiting")
    address = oracle.stage.client.service_client.config.target_host
    env = {"TEMPORAL_ADDRESS": address, "STEPGRAPH_TASK_QUEUE": oracle.stage.task_queue, "STEPGRAPH_HOME": str(folder)}
    yield Shell({"THREAD": thread.thread_id, "FOLDER": str(folder)}, env, folder)
    await thread.end()


@examples(20)
@given(line=starter_lines())
async def test_a_command_prints_a_result_or_one_message(shell: Shell, line: Words) -> None:
    """`starter.py` ends with status 0, 1 or 2, and without a traceback."""
    await run_line(APPS["starter.py"], line, shell.places, shell.env, shell.folder)


@examples(15)
@given(line=worker_lines)
async def test_a_worker_says_why_it_cannot_start(shell: Shell, line: Words) -> None:
    """`worker.py --check` ends with status 0, 1 or 2, and without a traceback, whatever the files of graphs do."""
    await run_line(APPS["worker.py"], line, shell.places, shell.env, shell.folder)


@pytest.mark.parametrize("name", ["generator_exit.py", "interrupts.py", "hostile.py"])
async def test_a_graph_file_that_cannot_be_loaded_is_named(shell: Shell, name: str) -> None:
    """The message names the file, whatever its code raises."""
    await run_line(APPS["worker.py"], ("--check", f"FOLDER/{name}:graph"), shell.places, shell.env, shell.folder)


@pytest.mark.parametrize("script", ["starter.py", "worker.py"])
def test_a_process_takes_a_name_that_is_no_text(script: str, tmp_path: Path) -> None:
    """Bytes of a command line that are no UTF-8 lead to one message."""
    arguments = [sys.executable, str(ROOT / script), *(["graph"] if script == "starter.py" else []), b"\xff\xfe:graph"]
    ended = subprocess.run(arguments, capture_output=True, cwd=tmp_path, timeout=PATIENCE, check=False)
    assert ended.returncode == 1
    assert b"Traceback" not in ended.stderr
