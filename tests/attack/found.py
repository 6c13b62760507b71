"""The programs that have once shown a fault, as small as they can be. Each is judged again by the test suite."""

from __future__ import annotations

from dataclasses import dataclass

from tests.attack.calls import Call, Foreign, Method, Query, Signal, Update
from tests.attack.live_thread import Situation
from tests.attack.programs import Program
from tests.attack.values import CONFIG, MARK, empty_payload, huge_number, levels


@dataclass(frozen=True)
class Found:
    """A program that has shown a fault."""

    what: str
    program: Program


def _of(what: str, on: Situation, call: Call, kind: str = "sync-thread") -> Found:
    return Found(what, Program(on, (call,), kind))


def _node(do: str, kind: str = "sync-thread") -> Found:
    return _of(f"a node does: {do}, {kind}", "new", Method("ainvoke", ({"do": do}, CONFIG)), kind)


YES = {"resume": "yes"}

FOUND = (
    _of("a signal with two arguments", "waiting", Signal("resume", (YES, YES))),
    _of("a signal that is a text", "waiting", Signal("resume", ("yes",))),
    _of("a signal with a number of 6,000 digits", "waiting", Signal("resume", ({"resume": huge_number},))),
    _of("an update with two arguments", "waiting", Update("resume", (YES, YES))),
    _of("an update with a number of 6,000 digits", "waiting", Update("resume", ({"resume": huge_number},))),
    _of("a query with two arguments", "waiting", Query("get_state", ({}, {}))),
    _of("an answer of 300 levels by signal", "waiting", Signal("resume", ({"resume": levels(300)},))),
    _of("an answer of 300 levels by update", "waiting", Update("resume", ({"resume": levels(300)},))),
    _node("raise asyncio.CancelledError"),
    _node("raise GeneratorExit", "sync-async"),
    _node("raise OwnBaseException", "fused-async"),
    _node("raise BaseExceptionGroup", "fused-thread"),
    _of("a fork of no super-steps by signal", "waiting", Signal("fork", ({"super_steps": []},))),
    _of(
        "values beside super-steps",
        "waiting",
        Update("fork", ({"values": {"log": [MARK]}, "super_steps": []},)),
    ),
    _of("an author that is no text", "waiting", Method("aupdate_state", (CONFIG, {}), {"as_node": 5})),
    _of("a breakpoint that is no text", "done", Method("ainvoke", ({}, CONFIG), {"interrupt_after": [5]})),
    _of(
        "a thread id of 6,000 digits",
        "new",
        Method("aget_state", ({"configurable": {"thread_id": huge_number}},)),
    ),
    _of("super-steps that are none", "waiting", Method("abulk_update_state", (CONFIG, None))),
    _of("a 'before' that is no config", "done", Method("aget_state_history", (CONFIG,), {"before": "x"})),
    _of("a foreign result that is no JSON", "done", Foreign("result", (empty_payload,))),
    _of("a foreign result of 300 levels", "done", Foreign("result", (levels(300),))),
    _of("a 'filter' that is no mapping", "done", Method("aget_state_history", (CONFIG,), {"filter": 5})),
)
