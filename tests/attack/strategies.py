"""Draws programs: calls that are nearly right, wrong in one place, or nothing at all, on threads in any situation.

A call is right most of the time in most of its parts. What is wrong everywhere is refused at the first look, and never
reaches the code behind.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from stepgraph import END, START, Command
from tests.attack.calls import Call, Foreign, Method, Query, Signal, Start, Update
from tests.attack.graphs import KINDS
from tests.attack.live_thread import SITUATIONS
from tests.attack.programs import Program
from tests.attack.values import (
    BEYOND,
    CONFIG,
    FIRST,
    FORK,
    HEAD,
    INTERRUPT,
    JSON_ODDITIES,
    MARK,
    PAYLOADS,
    PYTHON_ODDITIES,
    RECORD,
    RUN,
    TASK,
    THREAD,
    Named,
    value_of,
)

Drawn = st.SearchStrategy[Any]


def mostly(right: Drawn, wrong: Drawn) -> Drawn:
    """Draw what is right, and in one of four cases what is wrong."""
    return st.integers(0, 3).flatmap(lambda number: right if number else wrong)


def some(fields: dict[str, Drawn]) -> Drawn:
    """Draw a mapping with some of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


simple = st.sampled_from([None, True, False, 0, 1, -1, 1.5, "", "x", "a b", [], {}, [None], {"a": 1}, "ü🙂"])
checkpoints = st.sampled_from([HEAD, FIRST, BEYOND, "none", "01890000-0000-7000-8000-000000000000.000001", "", RUN])


def anything(oddities: tuple[Named, ...]) -> Drawn:
    """Draw a value of any kind: a simple one, an odd one, or one with odd parts."""
    leaves = simple | st.sampled_from(oddities)
    return leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.sampled_from("abc"), leaves, max_size=3)


class Parts:
    """Draws the parts of commands, with what a sender of JSON, or a caller in Python, may put in their places."""

    def __init__(self, oddities: tuple[Named, ...]) -> None:
        self.anything = anything(oddities)
        names = st.sampled_from(["work", "ask", "last", "human", START, END, "wrok", "*"])
        self.node = mostly(st.none() | names, self.anything)
        self.text = mostly(st.none() | st.just(TASK) | st.just(THREAD) | st.just("x"), self.anything)
        self.breaks = mostly(st.none() | names | st.lists(names, max_size=2), self.anything)
        do = st.sampled_from(["ask", "go", "fail", "run"])
        fields = {"log": st.just([MARK]), "do": do, "any": self.anything, "count": st.integers(0, 2)}
        self.values = mostly(some(fields), some({**fields, "log": self.anything, "cuont": st.just(1)}) | self.anything)
        self.marked = some(fields).map(lambda values: {**values, "log": [MARK]})
        self.checkpoint = mostly(st.none() | checkpoints, self.anything)
        self.limit = mostly(st.none() | st.integers(1, 5), self.anything)
        self.answer = mostly(simple | st.dictionaries(st.just(INTERRUPT), self.anything, max_size=1), self.anything)
        self.filter = mostly(
            st.none() | some({"source": st.sampled_from(["loop", "input", 5]), "step": st.integers(0, 3)}),
            self.anything,
        )


JSON = Parts(JSON_ODDITIES)
PYTHON = Parts(PYTHON_ODDITIES)

# What messages carry.

update_fields = {
    "values": JSON.values | JSON.marked,
    "as_node": JSON.node,
    "task_id": JSON.text,
    "checkpoint_id": JSON.checkpoint,
    "super_steps": mostly(
        st.lists(st.lists(some({"values": JSON.values, "as_node": JSON.node}), max_size=2), max_size=2), JSON.anything
    ),
    "thread_id": JSON.text,
    "types": JSON.text,
}
run_fields = {
    "recursion_limit": JSON.limit,
    "config": mostly(some({"tags": JSON.anything, "metadata": JSON.anything}), JSON.anything),
    "interrupt_before": JSON.breaks,
    "interrupt_after": JSON.breaks,
    "types": JSON.text,
}
commands = {
    "update_state": some(update_fields),
    "fork": some(update_fields),
    "resume": some({"resume": JSON.answer, "interrupt_before": JSON.breaks, "interrupt_after": JSON.breaks}),
    "invoke": some(
        {
            "input": JSON.values | JSON.marked,
            "on_busy": mostly(st.sampled_from(["refuse", "enqueue", "cancel"]), JSON.anything),
            "checkpoint_id": JSON.checkpoint,
            **run_fields,
        }
    ),
}
requests = some(
    {
        "page": mostly(st.just(0), JSON.anything),
        "limit": JSON.limit,
        "before": JSON.checkpoint,
        "filter": JSON.filter,
        "checkpoint_id": JSON.checkpoint,
        "since": JSON.checkpoint,
        "kind": mostly(st.sampled_from(["update", "fork"]), JSON.anything),
        "command": commands["update_state"] | JSON.anything,
    }
)
payloads = st.sampled_from(PAYLOADS)
several_plain = st.lists(st.sampled_from([None, 1, "yes", {}, {"resume": "yes"}, [1]]), max_size=3).map(tuple)
handled = tuple(commands)
queried = (
    *("get_state", "get_state_history", "stepgraph.record", "stepgraph.values"),
    *("stepgraph.writes", "stepgraph.spec", "stepgraph.check"),
)


def arguments(right: Drawn) -> Drawn:
    """Draw the arguments of a message: one that is right, one of any kind, or none to three that the SDK can decode.

    The SDK itself refuses several arguments of which it cannot decode one, and drops such a signal.
    """
    return mostly(st.tuples(right), st.tuples(right | JSON.anything | payloads) | several_plain)


def messages(kind: type[Signal] | type[Update] | type[Query], names: dict[str, Drawn]) -> Drawn:
    """Draw a message to one of these handlers, or in rare cases to one that does not exist."""
    known = st.sampled_from(sorted(names)).flatmap(
        lambda name: st.builds(kind, st.just(name), arguments(names[name]))  # type: ignore[arg-type]
    )
    unknown = st.builds(
        kind,  # type: ignore[arg-type]
        st.sampled_from(["", "updte_state", "__temporal_x", "x" * 300, "ü\0"]),
        arguments(requests),
    )
    return st.integers(0, 9).flatmap(lambda number: known if number else unknown)


signals = messages(Signal, commands)
updates = messages(Update, {**commands, "wait_until_idle": st.nothing() | JSON.anything})
queries = messages(Query, dict.fromkeys(queried, requests))

# Starts by hand.

path = st.lists(st.integers(0, 30), min_size=1, max_size=3)


def changed(path: list[int], value: Any) -> Named:
    """Return the thread's record with another value in one place; the numbers lead from key to key."""

    def make(scene: Any) -> Any:
        return _with_change(RECORD.make(scene), path, value.make(scene) if isinstance(value, Named) else value)

    return Named(f"RECORD with {value!r} at {path}", make)


def _with_change(data: Any, path: list[int], value: Any) -> Any:
    if not path or not isinstance(data, dict | list) or not data:
        return value
    if isinstance(data, list):
        place = path[0] % len(data)
        return [*data[:place], _with_change(data[place], path[1:], value), *data[place + 1 :]]
    key = sorted(data)[path[0] % len(data)]
    return {**data, key: _with_change(data[key], path[1:], value)}


def of_version(version: Any) -> Named:
    """Return the thread's record as another version of stepgraph might have written it."""
    value = version.make if isinstance(version, Named) else lambda scene: version
    return Named(f"RECORD of version {version!r}", lambda scene: {**RECORD.make(scene), "v": value(scene)})


odd_for_record = simple | st.sampled_from([odd for odd in JSON_ODDITIES if odd.text is None or len(odd.text) < 500])
versions = st.sampled_from([0, 2, -1, 99, None, "1", True, 1.0, []])
records = st.just(RECORD) | st.builds(changed, path, odd_for_record) | st.builds(of_version, versions)
options = some(
    {
        **run_fields,
        "after": mostly(st.none() | st.just(RUN), JSON.anything),
        "caller": JSON.text,
        "update": commands["update_state"] | JSON.anything,
        "fork": commands["fork"] | JSON.anything,
        "resume": commands["resume"] | JSON.anything,
        "continued": mostly(
            some(
                {
                    "record": records,
                    "steps_left": JSON.limit,
                    "runs_due_tasks": mostly(st.booleans(), JSON.anything),
                    "errors": mostly(st.just(["e"]), JSON.anything),
                    "input_queue": mostly(st.just([]), JSON.anything),
                    "queued_input_id": JSON.text,
                    "error": JSON.anything,
                }
            ),
            JSON.anything,
        ),
    }
)
starts = st.builds(
    Start,
    mostly(st.just("GRAPH"), st.sampled_from(["attcked-sync-thread", "x"])),
    st.just(())
    | st.tuples(JSON.marked)
    | st.tuples(JSON.values, options)
    | st.lists(JSON.anything | payloads, max_size=3).map(tuple),
)

# Methods.

no_thread_ids = [None, True, 1.5, "", "  ", [], {}, *(odd for odd in PYTHON_ODDITIES if odd.name != "uuid")]
thread_ids = mostly(st.just(THREAD), st.sampled_from(no_thread_ids))
configurable = st.fixed_dictionaries(
    {"thread_id": thread_ids},
    optional={"checkpoint_id": PYTHON.checkpoint, "checkpoint_ns": PYTHON.text, "user": PYTHON.text},
)
full_config = st.fixed_dictionaries(
    {"configurable": configurable},
    optional={
        "recursion_limit": mostly(st.integers(1, 20), PYTHON.anything),
        "tags": mostly(st.just(["t"]), PYTHON.anything),
        "metadata": mostly(st.just({"a": 1}), PYTHON.anything),
        "callbacks": PYTHON.anything,
    },
)

own_config = st.just(CONFIG)
configs = st.one_of(own_config, full_config, mostly(full_config, PYTHON.anything))


def method(name: str, *arguments: Drawn, **keywords: Drawn) -> Drawn:
    return st.builds(Method, st.just(name), st.tuples(*arguments), some(keywords), st.booleans())


answers = PYTHON.answer.map(lambda answer: Named(f"Command(resume={answer!r})", lambda scene: _command(answer, scene)))


def _command(answer: Any, scene: Any) -> Command:
    return Command(resume=value_of(answer, scene))


invokes = method(
    "ainvoke",
    st.none() | PYTHON.values | PYTHON.marked | answers,
    configs,
    interrupt_before=PYTHON.breaks,
    interrupt_after=PYTHON.breaks,
    on_busy=mostly(st.sampled_from(["refuse", "enqueue", "cancel"]), PYTHON.anything),
)
new_threads = mostly(st.none() | st.just(FORK), st.just(THREAD) | PYTHON.anything)
super_steps = mostly(st.lists(st.lists(st.tuples(PYTHON.values, PYTHON.node), max_size=2), max_size=2), PYTHON.anything)
updating = st.one_of(
    method("aupdate_state", configs, PYTHON.values | PYTHON.marked, as_node=PYTHON.node, task_id=PYTHON.text),
    method("abulk_update_state", configs, super_steps),
    method("afork", configs, values=PYTHON.values | PYTHON.marked, as_node=PYTHON.node, thread_id=new_threads),
)
reading = st.one_of(
    method("aget_state", configs),
    method(
        "aget_state_history",
        configs,
        filter=PYTHON.filter,
        before=mostly(st.none() | configs, PYTHON.anything),
        limit=PYTHON.limit,
    ),
    method("aget_run", configs),
)


# Programs.


def programs(
    calls: st.SearchStrategy[Call], *, on: tuple[str, ...] = SITUATIONS, most: int = 2, kinds: tuple[str, ...] = KINDS
) -> st.SearchStrategy[Program]:
    """Draw programs of some calls on threads in one of the situations."""
    return st.builds(
        Program, st.sampled_from(on), st.lists(calls, min_size=1, max_size=most).map(tuple), st.sampled_from(kinds)
    )


def node_programs(behaviours: Drawn, kinds: Drawn) -> st.SearchStrategy[Program]:
    """Draw programs that run a node with a behaviour, and perhaps resume its thread."""

    def program(do: str, kind: str, resumes: bool) -> Program:
        run = Method("ainvoke", ({"do": do, "log": [MARK]}, CONFIG))
        return Program("new", (run, Method("ainvoke", (None, CONFIG))) if resumes else (run,), kind)

    return st.builds(program, behaviours, kinds, st.booleans())


foreign_runs = st.one_of(
    st.builds(Foreign, st.just("result"), st.tuples(mostly(records, JSON.anything | payloads)), st.booleans()),
    st.builds(Foreign, st.just("failure"), st.lists(records | JSON.anything, max_size=2).map(tuple), st.booleans()),
    st.builds(Foreign, st.just("none"), st.just(()), st.booleans()),
)
foreign_programs = st.builds(
    lambda run, call: Program("done", (run, call)),
    foreign_runs,
    st.one_of(
        st.just(Method("ainvoke", ({"do": "go", "log": [MARK]}, CONFIG))),
        st.just(Method("ainvoke", (None, CONFIG))),
        st.just(Method("aupdate_state", (CONFIG, {"log": [MARK]}))),
        st.just(Method("afork", (CONFIG,))),
        st.just(Method("aget_state", (CONFIG,))),
        st.just(Method("aget_state_history", (CONFIG,))),
    ),
)
"""A closed thread on which another workflow runs, with a record of the thread as its result, changed in one place."""
