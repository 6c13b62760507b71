"""Random programs of commands, played on a real server and in memory: every state and every history is the same."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from operator import add
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from typing_extensions import TypedDict

from stepgraph import END, START, Command, GraphClient, GraphPlugin, StateGraph, StateSnapshot, interrupt
from stepgraph.client import graph_run
from stepgraph.engine.spec import Durability
from stepgraph.graph.compiled import CompiledGraph
from stepgraph.protocol.snapshot import config_for
from stepgraph.testing import MemoryRunner
from tests.conftest import Stage

PROGRAMS = 40

Step = tuple[Any, ...]
"""A command's name, then what it is given."""


class State(TypedDict, total=False):
    log: Annotated[list[str], add]
    turns: Annotated[int, add]
    road: str


failing: set[str] = set()
"""The nodes that fail at the moment, wherever they run."""


def says(name: str) -> Any:
    """A node that logs its name, or fails when it is told to."""

    def node(state: State) -> dict[str, Any]:
        if name in failing:
            raise ConnectionError(f"{name} has no route")
        return {"log": [name]}

    return node


def meet(state: State) -> dict[str, Any]:
    return {"log": ["meet"], "turns": 1}


def ask(state: State) -> dict[str, Any]:
    """Asks once, or twice in a row; fails between its questions when it is told to."""
    answers = [interrupt({"first": state.get("turns", 0)})]
    if "ask" in failing:
        raise ConnectionError("ask has no route")
    if state.get("road") == "twice":
        answers.append(interrupt("second"))
    return {"log": [f"ask {answer}" for answer in answers]}


def also(state: State) -> dict[str, Any]:
    return {"log": [f"also {interrupt('also?')}"], "road": "answered"}


def leave(state: State) -> list[str]:
    """Another round, a question with a sibling, two questions side by side, or the end."""
    roads = {"ask": ["ask", "aside"], "twice": ["ask", "aside"], "both": ["ask", "also"]}
    if state.get("road") == "again" and state["turns"] < 2:
        return ["left", "right"]
    return roads.get(state.get("road", ""), [END])


def a_graph(kind: str) -> CompiledGraph:
    """Two side by side, a join, a loop with a bound, roads on which people are asked; of one durability, or both."""
    builder = StateGraph(State)
    for name in ("left", "right", "aside", "last"):
        builder.add_node(name, says(name), durability="sync" if (kind, name) == ("mixed", "aside") else None)
    builder.add_node(meet, durability="sync" if kind == "mixed" else None).add_node(ask).add_node(also)
    builder.add_edge(START, "left").add_edge(START, "right").add_edge(["left", "right"], "meet")
    builder.add_conditional_edges("meet", leave)
    builder.add_edge(["ask", "aside"], "last").add_edge("also", "last").add_edge("last", END)
    durability: Durability = "sync" if kind == "sync" else "async"
    return builder.compile(name=f"programs-{kind}", authors=["human"], durability=durability)


GRAPHS = {kind: a_graph(kind) for kind in ("sync", "async", "mixed")}


roads = st.sampled_from(["ask", "twice", "both", "again", "end"])
places = st.none() | st.integers(0, 30)
"""Which checkpoint, counted from the newest; `None` for the head."""
values = st.fixed_dictionaries({}, optional={"log": st.just(["by hand"]), "road": roads, "turns": st.integers(1, 2)})
signers = st.none() | st.sampled_from(
    ["human", "left", "right", "meet", "ask", "aside", "also", "last", START, END, "lfet"]
)
breaks = st.none() | st.sampled_from([["meet"], ["ask"], ["*"]])


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(name), *arguments)


inputs = st.fixed_dictionaries({"road": roads}, optional={"log": st.just(["in"])})
bulks = st.lists(st.lists(st.tuples(values, signers), min_size=1, max_size=2), min_size=1, max_size=2)
answers = st.sampled_from(["yes", {"a": 1}, {}])

troubles = st.one_of(
    step("fail", st.sets(st.sampled_from(["left", "right", "aside", "ask", "last"]), min_size=1, max_size=3)),
    step("mend"),
    step("restart"),
)
goings_on = st.one_of(
    step("invoke", inputs, breaks, breaks),
    step("resume"),
    step("answer", answers, st.sampled_from(["one", "first", "last", "all", "stale"])),
    step("answer", answers, st.sampled_from(["first", "last", "all"])),
)
travels = st.one_of(
    step("replay", places),
    step("update", st.none(), values, signers),
    step("update", places, values, signers),
    step("bulk", places, bulks),
    step("fork", places, st.none() | values, signers),
    step("fork_away", places, st.none() | values, signers),
)
rounds = st.tuples(troubles, goings_on, travels, goings_on)
programs = st.tuples(troubles, step("invoke", inputs, breaks, breaks), rounds, rounds).map(
    lambda drawn: [*drawn[:2], *drawn[2], *drawn[3]]
)


class Player:
    """Plays a program on one side, and tells what is to be seen there in words that both sides have."""

    def __init__(self, face: GraphClient | MemoryRunner, thread: str) -> None:
        self.face = face
        self.threads = [thread]
        self.places: dict[str, str] = {}
        """A name for each checkpoint id: the thread, and the checkpoint's place on it."""

    @property
    def config(self) -> dict[str, Any]:
        return config_for(self.threads[-1])

    async def play(self, name: str, *arguments: Any) -> Any:
        """What a command gave, or raised."""
        try:
            return self._named(await getattr(self, name)(*arguments))
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "builtins"]
            return kinds, _masked(str(error))

    async def invoke(self, given: Any, before: Any, after: Any) -> Any:
        return await self.face.ainvoke(given, self.config, interrupt_before=before, interrupt_after=after)

    async def resume(self) -> Any:
        return await self.face.ainvoke(None, self.config)

    async def replay(self, place: int | None) -> Any:
        return await self.face.ainvoke(None, await self._at(0 if place is None else place))

    async def update(self, place: int | None, values: Any, as_node: str | None) -> Any:
        return await self.face.aupdate_state(await self._at(place), values, as_node)

    async def bulk(self, place: int | None, supersteps: Any) -> Any:
        return await self.face.abulk_update_state(await self._at(place), supersteps)

    async def fork(self, place: int | None, values: Any, as_node: str | None) -> Any:
        return await self.face.afork(await self._at(place), values, as_node)

    async def fork_away(self, place: int | None, values: Any, as_node: str | None) -> Any:
        source = await self._at(place)
        self.threads.append(f"{self.threads[0]}-{len(self.threads)}")
        return await self.face.afork(source, values, as_node, self.threads[-1])

    async def answer(self, value: Any, which: str) -> Any:
        ids = [each.id for each in (await self.face.aget_state(self.config)).interrupts]
        by_id = {"first": ids[:1], "last": ids[-1:], "all": ids, "stale": ["0" * 16]}
        resume = value if which == "one" else dict.fromkeys(by_id[which], value)
        return await self.face.ainvoke(Command(resume=resume), self.config)

    async def look(self, thread: str) -> tuple[Any, list[Any]]:
        """A thread's state, and its whole history."""
        history, state = await asyncio.gather(self._history(thread), self.face.aget_state(config_for(thread)))
        for place, snapshot in enumerate(reversed(history)):
            self.places[snapshot.checkpoint_id or ""] = f"{thread} {place}"
        return self._seen(state), [self._seen(snapshot) for snapshot in history]

    async def _at(self, place: int | None) -> dict[str, Any]:
        history = await self._history(self.threads[-1])
        return self.config if place is None or not history else history[place % len(history)].config

    async def _history(self, thread: str) -> list[StateSnapshot]:
        return [snapshot async for snapshot in self.face.aget_state_history(config_for(thread))]

    def _seen(self, snapshot: StateSnapshot) -> dict[str, Any]:
        """All that a snapshot says but its time; ids as places, questions without theirs."""
        tasks = [
            task._replace(interrupts=tuple(each.value for each in task.interrupts))._asdict() for task in snapshot.tasks
        ]
        asked = [(each.value, each.deadline) for each in snapshot.interrupts]
        left_out = {"created_at": None, "tasks": tasks, "interrupts": asked}
        return {name: self._named(part) for name, part in {**snapshot._asdict(), **left_out}.items()}

    def _named(self, found: Any) -> Any:
        if isinstance(found, dict):
            return {
                name: [each.value for each in part] if name == "__interrupt__" else self._named(part)
                for name, part in found.items()
                if name != "checkpoint_id" or part in self.places
            }
        return self.places.get(found, found) if isinstance(found, str) else found


def _masked(text: str) -> str:
    """A message without the ids that differ from run to run."""
    text = re.sub(r"run [-0-9a-f]{36}|run run-\d+", "run …", text)
    return re.sub(r"'[-0-9a-f]{36}\.\d{6}'|'run-\d+\.\d{6}'|'[0-9a-f]{16}'", "'…'", text)


class Served:
    """A worker that can be restarted."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.worker: Worker | None = None

    async def __aenter__(self) -> Served:
        await self.restart()
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self.worker is not None
        await self.worker.__aexit__(None, None, None)

    async def restart(self) -> None:
        """Another worker in place of the one there is."""
        if self.worker is not None:
            await self.worker.__aexit__(None, None, None)
        self.worker = Worker(
            self.stage.client, task_queue=self.stage.task_queue, plugins=[GraphPlugin(GRAPHS.values())]
        )
        await self.worker.__aenter__()


@pytest.fixture(scope="module")
async def served(server: WorkflowEnvironment) -> AsyncIterator[Served]:
    """One for all programs: a server takes half a second over a task queue that it has never heard of.

    Clients ask early whether a run waits for people: most of these do.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph_run, "SHORT_RUN_SECONDS", 0.03)
        async with Served(Stage(server.client)) as served:
            yield served


async def playing(served: Served, graph: CompiledGraph, program: list[Step]) -> None:
    """Plays a program on both sides, and compares what is to be seen after each command."""
    failing.clear()
    stage = served.stage
    stage.threads.clear()
    name = f"program-{uuid.uuid4().hex[:12]}"
    real, oracle = Player(stage.use(graph), name), Player(MemoryRunner(graph), name)
    for command, *arguments in program:
        if command == "restart":
            await served.restart()
        elif command in ("fail", "mend"):
            failing.clear()
            failing.update(*arguments)
        else:
            outcomes = [await player.play(command, *arguments) for player in (oracle, real)]
            assert outcomes[1] == outcomes[0], (command, arguments)
            expected = await oracle.look(oracle.threads[-1])
            assert await real.look(real.threads[-1]) == expected, (command, arguments)
    for thread in oracle.threads[:-1]:  # the last one has been looked at
        assert await real.look(thread) == await oracle.look(thread)
    stage.threads += oracle.threads
    await stage.replay()


def played(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


@played(PROGRAMS)
@given(program=programs)
async def test_a_program_leaves_what_it_leaves_in_memory(served: Served, program: list[Step]) -> None:
    """Whatever is invoked, fails, is resumed, updated, forked, replayed, asked and answered, in whatever order."""
    await playing(served, GRAPHS["sync"], program)


@played(PROGRAMS // 2)
@given(program=programs, kind=st.sampled_from(["async", "mixed"]))
async def test_a_program_leaves_the_same_when_it_runs_in_a_row(served: Served, program: list[Step], kind: str) -> None:
    """All of it, or with nodes in between that have activities of their own."""
    await playing(served, GRAPHS[kind], program)
