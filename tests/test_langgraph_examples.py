"""The programs of `examples/langgraph` run as processes on a real server. Killed in their middle, they go on when they
are run again: the answer is that of a run that was not killed, and no tool call that had finished is made again.
"""

from __future__ import annotations

import asyncio
import re
import runpy
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import langgraph.graph
import langgraph.runtime
import langgraph.types
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from temporalio.testing import WorkflowEnvironment

from stepgraph import GraphClient
from stepgraph.cli.graph_loader import load_graphs
from tests.commands.projects import Project, Running
from tests.conftest import ROOT, Stage
from tests.patience import eventually

PROGRAMS = ROOT / "examples" / "langgraph"
SILENCE = "- the model does not answer"
"""What the fake model prints before it waits for ever."""


@dataclass(frozen=True)
class Program:
    """What a program prints, and where it is killed.

    Args:
        answer: the last line that it prints.
        silent_at: the model never answers a conversation in which this pattern is found. The process is killed then.
        actions_before: how many actions it has printed by then.
        typed_before: what a person types until then.
        typed_after: what a person types after that.
        siblings_finished: how many tasks of the super-step have finished when it is killed.
    """

    answer: str
    silent_at: str
    actions_before: int
    typed_before: str = ""
    typed_after: str = ""
    siblings_finished: int = 0


OUTCOMES = {
    "agent_with_middleware": Program(
        answer="Log: disk_usage atlas; disk_usage borea; delete_logs atlas",
        silent_at="tool delete_logs: ",
        actions_before=3,
        typed_before="keep 7\n",
    ),
    "corrective_rag": Program(
        answer="Pages: 23, 24",
        silent_at="human: Answer",
        actions_before=4,
    ),
    "human_review": Program(
        answer="Published on a branch: The stairs only, on Tuesday.",
        silent_at="Wishes: a short one",
        actions_before=1,
        typed_before="wish a short one\n",
        typed_after="edit No lift on Tuesday.\nThe stairs only, on Tuesday.\npublish\n",
    ),
    "long_term_memory": Program(
        answer="Cook: Risotto for four, no nuts.",
        silent_at="human: What shall I cook",
        actions_before=3,
    ),
    "map_reduce": Program(
        answer="Report: Mend first: The pegs bend and break. Then: The seams leak, though not for all.",
        silent_at="say of weight:",
        actions_before=4,
        siblings_finished=3,
    ),
    "plan_and_execute": Program(
        answer="Answer: Mill: 7000 against 8550.",
        silent_at="human: Revise.*- Mill per head",
        actions_before=9,
    ),
    "react_agent": Program(
        answer="Agent: Bergen: it stays dry there, while Oslo has rain. Your seat on R61, Saturday: coach 4, seat 5.",
        silent_at="tool reserve_seat: ",
        actions_before=4,
    ),
    "support_bot": Program(
        answer="Bot: Cancelled B-204; 38 euros come back to you.",
        silent_at="tool cancel_booking: ",
        actions_before=4,
        typed_before="yes\n",
    ),
}


def printed_by(running: Running) -> str:
    """Return what a program has printed, without the warnings that the SDK's core prints on a busy machine."""
    return re.sub(r"\x1b\[2m\d{4}-.*\n", "", running.out)


def actions(printed: str) -> Counter[str]:
    """Count the lines that tell what was done; such a line may follow a question."""
    return Counter(re.findall(r"(?:^|\? )- (.+)$", printed.replace(SILENCE, ""), re.MULTILINE))


class ProgramRuns:
    """The processes of one program: one that is not disturbed, then one that is killed, then one that goes on.

    They follow each other, because each runs a worker for the same graph: a worker takes the tasks of any thread. The
    processes of different programs run side by side.
    """

    undisturbed: Running
    killed: Running
    again: Running

    def __init__(self, name: str, folder: Path, stage: Stage) -> None:
        self.name = name
        self.program = OUTCOMES[name]
        self.stage = stage
        self.project = Project(folder, stage.client.service_client.config.target_host)
        self.all = asyncio.create_task(self._run_all())

    async def _run_all(self) -> None:
        undisturbed_thread, killed_thread = self.project.thread(), self.project.thread()
        typed_before, typed_after = self.program.typed_before, self.program.typed_after
        self.undisturbed = self._start(undisturbed_thread, typed_before + typed_after)
        await self._ended(self.undisturbed)
        self.killed = self._start(killed_thread, typed_before, FAKE_MODEL_SILENT_AT=self.program.silent_at)
        await eventually(lambda: SILENCE in self.killed.out or self.killed.process.poll() is not None)
        assert SILENCE in self.killed.out, self.killed.out + self.killed.err
        await eventually(lambda: self._siblings_finished(killed_thread), lambda: self.killed.out)
        self.killed.kill()
        self.again = self._start(killed_thread, typed_after)
        await self._ended(self.again)

    def _start(self, thread: str, typed: str, **env: str) -> Running:
        return self.project.start(PROGRAMS / f"{self.name}.py", thread, stdin=typed, env=env)

    async def _ended(self, running: Running) -> None:
        """Wait until a process has ended well."""
        await eventually(lambda: running.process.poll() is not None, lambda: running.out + running.err)
        assert running.process.returncode == 0, running.out + running.err

    async def _siblings_finished(self, thread: str) -> bool:
        """Return whether all that has finished beside the silent model is recorded."""
        client = GraphClient(self.stage.client, self.name)
        state = await client.aget_state({"configurable": {"thread_id": self._threads(thread)[-1]}})
        return sum(task.result is not None for task in state.tasks) == self.program.siblings_finished

    async def replay(self) -> None:
        """Replay the histories of all threads."""
        (graph,) = load_graphs([f"{PROGRAMS / self.name}.py:graph"])
        self.stage.graphs[graph.name] = graph
        self.stage.threads = [each for thread in self.project.threads for each in self._threads(thread)]
        assert await self.stage.replay() >= len(self.stage.threads)

    def _threads(self, thread: str) -> list[str]:
        """Return the ids of the threads that the program uses, the one on which it is killed last."""
        return [f"{thread}-{day}" for day in ("monday", "friday")] if self.name == "long_term_memory" else [thread]


@pytest.fixture(scope="module")
async def programs(
    server: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, ProgramRuns]]:
    """All programs, each in a folder of its own. They are under way."""
    runs = {name: ProgramRuns(name, tmp_path_factory.mktemp(name), Stage(server.client)) for name in OUTCOMES}
    yield runs
    for each in runs.values():
        each.all.cancel()
    await asyncio.gather(*(each.all for each in runs.values()), return_exceptions=True)
    for each in runs.values():
        each.project.end()


@pytest.mark.parametrize("name", OUTCOMES)
async def test_a_killed_program_goes_on_when_it_is_run_again(
    programs: dict[str, ProgramRuns], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run again, it ends as an undisturbed run does, and each action of both processes happened once."""
    runs = programs[name]
    await runs.all
    undisturbed, killed, again = map(printed_by, (runs.undisturbed, runs.killed, runs.again))
    assert undisturbed.splitlines()[-1] == again.splitlines()[-1] == runs.program.answer
    assert actions(killed).total() == runs.program.actions_before
    assert actions(killed) + actions(again) == actions(undisturbed)
    monkeypatch.chdir(tmp_path)  # a program may make a file for its store when it is imported
    await runs.replay()


@pytest.mark.parametrize("name", OUTCOMES)
async def test_a_program_prints_the_same_on_langgraph(
    programs: dict[str, ProgramRuns],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The program on LangGraph prints the same lines as on stepgraph; those of parallel tasks in any order."""
    runs = programs[name]
    await runs.all
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(PROGRAMS)
    monkeypatch.setitem(sys.modules, "stepgraph", langgraph_in_place_of_stepgraph())
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "thread-1"])
    monkeypatch.setattr(sys, "stdin", StringIO(runs.program.typed_before + runs.program.typed_after))
    runpy.run_path(f"{PROGRAMS / name}.py", run_name="__main__")
    printed = capsys.readouterr().out
    assert sorted(printed.splitlines()) == sorted(printed_by(runs.undisturbed).splitlines())


def langgraph_in_place_of_stepgraph() -> ModuleType:
    """Return a module with LangGraph's objects under the names that programs import from stepgraph."""

    class StateGraph(langgraph.graph.StateGraph[Any, Any, Any, Any]):
        def compile(self, **options: Any) -> Any:  # type: ignore[override]  # with a checkpointer, as stepgraph has one
            return super().compile(checkpointer=InMemorySaver(), **options)

    def adopt(graph: Any, name: str | None = None) -> Any:
        if isinstance(graph, langgraph.graph.StateGraph):
            return graph.compile(checkpointer=InMemorySaver(), name=name)
        graph.checkpointer = InMemorySaver()
        return graph

    module = ModuleType("stepgraph")
    for source in (langgraph.graph, langgraph.types, langgraph.runtime):
        vars(module).update({key: value for key, value in vars(source).items() if not key.startswith("_")})
    vars(module).update(StateGraph=StateGraph, adopt=adopt)
    return module


def test_every_program_is_run() -> None:
    """This module has the outcomes of every program in ``examples/langgraph``."""
    assert {path.stem for path in PROGRAMS.glob("*.py")} - {"fake_model"} == set(OUTCOMES)
