"""Random programs of commands, executed on a real server and in memory: every state and every history is the same.

`PROGRAMS` sets how many are drawn for each of the durabilities.
"""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator
from datetime import date
from operator import add
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from typing_extensions import TypedDict

from stepgraph import END, START, Command, GraphClient, GraphPlugin, Send, StateGraph, StateSnapshot, interrupt
from stepgraph.client import graph_run
from stepgraph.engine.spec import Durability
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.snapshot import config_for
from stepgraph.testing import MemoryRunner
from tests.conftest import Stage, has_poller
from tests.patience import eventually

PROGRAMS = int(os.environ.get("PROGRAMS", "40"))

Step = tuple[Any, ...]
"""The name of a command, then its arguments."""


def union(left: set[str], right: set[str]) -> set[str]:
    """A reducer that only the graph's code has; it fails while "union" is in `failing`."""
    if "union" in failing:
        raise ValueError("no union")
    return left | right


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    turns: Annotated[int, add]
    tags: Annotated[set[str], union]
    road: str
    day: date


failing: set[str] = set()
"""The nodes that fail at present, on the server and in memory, and perhaps the reducer."""


def says(name: str) -> Any:
    """Return a node that logs its name, or fails while its name is in `failing`."""

    def node(state: State) -> dict[str, Any]:
        if name in failing:
            raise ConnectionError(f"{name} has no route")
        return {"log": [name], "tags": {name}}

    return node


def meet(state: State) -> dict[str, Any]:
    return {"log": ["meet"], "turns": 1, "tags": {"meet"}}


def ask(state: State) -> dict[str, Any]:
    """Have one interrupt, or two; fail after the first one while "ask" is in `failing`."""
    answers = [interrupt({"first": state.get("turns", 0)})]
    if "ask" in failing:
        raise ConnectionError("ask has no route")
    if state.get("road") == "twice":
        answers.append(interrupt("second"))
    return {"log": [f"ask {answer}" for answer in answers]}


def also(state: State) -> dict[str, Any]:
    return {"log": [f"also {interrupt('also?')}"], "road": "answered"}


def part(view: Any) -> Any:
    """Run for each item that is sent; lead to a deferred node, and for the third item to a further task."""
    if "part" in failing:
        raise ConnectionError("part has no route")
    item = view.get("item", 0)
    answer = interrupt(f"item {item}?") if item == 2 else item
    goto = ["close", Send("part", {"item": 4, "day": date(2026, 1, 2)})] if item == 3 else "close"
    return Command(update={"log": [f"part {answer}"], "tags": {f"{view.get('day')}"}}, goto=goto)


def leave(state: State) -> list[Any]:
    """Return another round, an interrupt with a sibling, two interrupts side by side, sent tasks, or the end."""
    roads: dict[str, list[Any]] = {
        "ask": ["ask", "aside"],
        "twice": ["ask", "aside"],
        "both": ["ask", "also"],
        "parts": ["aside", *(Send("part", {"item": item}) for item in (1, 3, 1))],
        "asking parts": ["also", *(Send("part", {"item": item}) for item in (2, 1, 2))],
    }
    if state.get("road") == "again" and state["turns"] < 2:
        return ["left", "right"]
    return roads.get(state.get("road", ""), [END])


def a_graph(kind: str) -> CompiledGraph:
    """Return a graph of parallel nodes, a join, a bounded loop and interrupts, with one durability or both."""
    builder = StateGraph(State)
    for name in ("left", "right", "aside", "last", "close"):
        durability: Durability | None = "sync" if (kind, name) == ("mixed", "aside") else None
        builder.add_node(name, says(name), durability=durability, defer=name == "close")
    builder.add_node(meet, durability="sync" if kind == "mixed" else None).add_node(ask).add_node(also)
    builder.add_node(part, destinations=["part", "close"])
    builder.add_edge(START, "left").add_edge(START, "right").add_edge(["left", "right"], "meet")
    builder.add_conditional_edges("meet", leave)
    builder.add_edge(["ask", "aside"], "last").add_edge("also", "last").add_edge("last", END)
    own: Durability = "sync" if kind == "sync" else "async"
    return builder.compile(name=f"programs-{kind}", authors=["human"], durability=own)


GRAPHS = {kind: a_graph(kind) for kind in ("sync", "async", "mixed")}


roads = st.sampled_from(["ask", "twice", "both", "again", "end", "parts", "asking parts"])
places = st.none() | st.integers(0, 30)
"""Which checkpoint, counted from the newest; `None` stands for the head."""
values = st.fixed_dictionaries(
    {},
    optional={"log": st.just(["by hand"]), "road": roads, "turns": st.integers(1, 2), "tags": st.just({"hand"})},
)
NODES = ["left", "right", "meet", "ask", "aside", "also", "last", "part", "close"]
authors = st.none() | st.sampled_from(["human", *NODES, START, END, "lfet", "__copy__", "__input__"])
breaks = st.none() | st.sampled_from([["meet"], ["ask"], ["*"]])


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *arguments)


inputs = st.fixed_dictionaries({"road": roads}, optional={"log": st.just(["in"])})
bulks = st.lists(st.lists(st.tuples(values, authors), min_size=1, max_size=2), min_size=1, max_size=2)
answers = st.sampled_from(["yes", {"a": 1}, {}])

FAILING = ["left", "right", "aside", "ask", "last", "part", "close", "union"]
faults = st.one_of(
    step("fail", st.sets(st.sampled_from(FAILING), min_size=1, max_size=3)),
    step("fix"),
    step("restart"),
)
continuations = st.one_of(
    step("invoke", inputs, breaks, breaks),
    step("resume"),
    step("answer", answers, st.sampled_from(["one", "first", "last", "all", "stale"])),
    step("answer", answers, st.sampled_from(["first", "last", "all"])),
    step(
        "command",
        st.lists(st.sampled_from(["aside", "part", "close", "last", END]), min_size=1, max_size=2),
        st.lists(st.sampled_from([1, 2, 3]), max_size=2),
        st.none() | values,
        st.sampled_from(["none", "first", "all"]),
    ),
)
travels = st.one_of(
    step("replay", places),
    step("update", st.none(), values, authors),
    step("update", places, values, authors),
    step("bulk", places, bulks),
    step("fork", places, st.none() | values, authors),
    step("fork_away", places, st.none() | values, authors),
)
rounds = st.tuples(faults, continuations, travels, continuations)
programs = st.tuples(faults, step("invoke", inputs, breaks, breaks), rounds, rounds).map(
    lambda drawn: [*drawn[:2], *drawn[2], *drawn[3]]
)


class Executor:
    """Executes commands on the server or in memory, and returns outcomes that do not depend on which it is."""

    def __init__(self, runner: GraphClient | MemoryRunner, thread: str) -> None:
        self.runner = runner
        self.threads = [thread]
        self.places: dict[str, str] = {}
        """Checkpoint id -> a name that is the same on both sides: the thread, and the checkpoint's place on it."""

    @property
    def config(self) -> dict[str, Any]:
        return config_for(self.threads[-1])

    async def execute(self, name: str, *arguments: Any) -> Any:
        """Return the result of a command, or the error that it raised."""
        try:
            return self._named(await getattr(self, name)(*arguments))
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "builtins"]
            return kinds, _masked(str(error))

    async def invoke(self, input_data: Any, before: Any, after: Any) -> Any:
        return await self.runner.ainvoke(input_data, self.config, interrupt_before=before, interrupt_after=after)

    async def resume(self) -> Any:
        return await self.runner.ainvoke(None, self.config)

    async def replay(self, place: int | None) -> Any:
        return await self.runner.ainvoke(None, await self._at(0 if place is None else place))

    async def update(self, place: int | None, values: Any, as_node: str | None) -> Any:
        return await self.runner.aupdate_state(await self._at(place), values, as_node)

    async def bulk(self, place: int | None, supersteps: Any) -> Any:
        return await self.runner.abulk_update_state(await self._at(place), supersteps)

    async def fork(self, place: int | None, values: Any, as_node: str | None) -> Any:
        return await self.runner.afork(await self._at(place), values, as_node)

    async def fork_away(self, place: int | None, values: Any, as_node: str | None) -> Any:
        source = await self._at(place)
        self.threads.append(f"{self.threads[0]}-{len(self.threads)}")
        return await self.runner.afork(source, values, as_node, self.threads[-1])

    async def answer(self, value: Any, which: str) -> Any:
        ids = [each.id for each in (await self.runner.aget_state(self.config)).interrupts]
        by_id = {"first": ids[:1], "last": ids[-1:], "all": ids, "stale": ["0" * 16]}
        resume = value if which == "one" else dict.fromkeys(by_id[which], value)
        return await self.runner.ainvoke(Command(resume=resume), self.config)

    async def command(self, goto: list[str], sends: list[int], update: Any, which: str) -> Any:
        ids = [each.id for each in (await self.runner.aget_state(self.config)).interrupts]
        resume = dict.fromkeys({"first": ids[:1], "all": ids}.get(which, []), "yes") or None
        destinations = [*goto, *(Send("part", {"item": item}) for item in sends)]
        return await self.runner.ainvoke(Command(resume=resume, update=update, goto=destinations), self.config)

    async def read(self, thread: str) -> tuple[Any, list[Any]]:
        """Return a thread's state, and its whole history."""
        history, state = await asyncio.gather(self._history(thread), self.runner.aget_state(config_for(thread)))
        for place, snapshot in enumerate(reversed(history)):
            self.places[snapshot.checkpoint_id or ""] = f"{thread} {place}"
        return self._comparable(state), [self._comparable(snapshot) for snapshot in history]

    async def _at(self, place: int | None) -> dict[str, Any]:
        history = await self._history(self.threads[-1])
        return self.config if place is None or not history else history[place % len(history)].config

    async def _history(self, thread: str) -> list[StateSnapshot]:
        return [snapshot async for snapshot in self.runner.aget_state_history(config_for(thread))]

    def _comparable(self, snapshot: StateSnapshot) -> dict[str, Any]:
        """Return a snapshot without its time and the ids of tasks and interrupts, with places for checkpoint ids."""
        tasks = [
            task._replace(id="", interrupts=tuple(each.value for each in task.interrupts))._asdict()
            for task in snapshot.tasks
        ]
        interrupts = [(each.value, each.deadline) for each in snapshot.interrupts]
        replaced = {"created_at": None, "tasks": tasks, "interrupts": interrupts}
        return {name: self._named(part) for name, part in {**snapshot._asdict(), **replaced}.items()}

    def _named(self, data: Any) -> Any:
        """Replace the checkpoint ids in the data with their names."""
        if isinstance(data, dict):
            return {
                name: [each.value for each in part] if name == "__interrupt__" else self._named(part)
                for name, part in data.items()
                if name != "checkpoint_id" or part in self.places
            }
        return self.places.get(data, data) if isinstance(data, str) else data


def _masked(text: str) -> str:
    """Return a message without the ids that differ from run to run."""
    text = re.sub(r"run [-0-9a-f]{36}|run run-\d+", "run …", text)
    return re.sub(r"'[-0-9a-f]{36}\.\d{6}'|'run-\d+\.\d{6}'|'[0-9a-f]{16}'", "'…'", text)


class RestartableWorker:
    """A worker for all graphs of this module, which a program may restart."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.worker: Worker | None = None

    async def __aenter__(self) -> RestartableWorker:
        await self.restart()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.worker is not None
        await self.worker.__aexit__(None, None, None)

    async def restart(self) -> None:
        """Stop the worker that runs, if any, and start another."""
        if self.worker is not None:
            await self.worker.__aexit__(None, None, None)
        self.worker = Worker(
            self.stage.client, task_queue=self.stage.task_queue, plugins=[GraphPlugin(GRAPHS.values())]
        )
        await self.worker.__aenter__()
        await eventually(lambda: has_poller(self.stage.client, self.stage.task_queue))


@pytest.fixture(scope="module")
async def worker(server: WorkflowEnvironment) -> AsyncIterator[RestartableWorker]:
    """One worker for all programs, because a new one takes a moment to begin to poll.

    Clients check early whether a run is idle, because most runs here wait at an interrupt.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_run, "SHORT_RUN_SECONDS", 0.03)
        async with RestartableWorker(Stage(server.client)) as worker:
            yield worker


async def compare(worker: RestartableWorker, graph: CompiledGraph, program: list[Step]) -> None:
    """Execute a program on the server and in memory, and compare outcome, state and history after each command."""
    failing.clear()
    stage = worker.stage
    stage.threads.clear()
    name = f"program-{uuid.uuid4().hex[:12]}"
    real, oracle = Executor(stage.use(graph), name), Executor(MemoryRunner(graph), name)
    for command, *arguments in program:
        if command == "restart":
            await worker.restart()
        elif command in ("fail", "fix"):
            failing.clear()
            failing.update(*arguments)
        else:
            outcomes = [await executor.execute(command, *arguments) for executor in (oracle, real)]
            assert outcomes[1] == outcomes[0], (command, arguments)
            expected = await oracle.read(oracle.threads[-1])
            assert await real.read(real.threads[-1]) == expected, (command, arguments)
    for thread in oracle.threads[:-1]:  # the last one has been compared already
        assert await real.read(thread) == await oracle.read(thread)
    stage.threads += oracle.threads
    await stage.replay()


def examples(count: int) -> settings:
    """Return settings for a fixed number of programs, the same in every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


@examples(PROGRAMS)
@given(program=programs)
async def test_a_program_has_the_same_outcome_as_in_memory(worker: RestartableWorker, program: list[Step]) -> None:
    """A program invokes, fails, resumes, updates, forks, replays and answers, in any order."""
    await compare(worker, GRAPHS["sync"], program)


@examples(PROGRAMS // 2)
@given(program=programs, kind=st.sampled_from(["async", "mixed"]))
async def test_a_program_has_the_same_outcome_with_fused_steps(
    worker: RestartableWorker, program: list[Step], kind: str
) -> None:
    """All super-steps are fused, or there are nodes between them that have their own activities."""
    await compare(worker, GRAPHS[kind], program)
