"""The smallest programs of all faults that attacks have found, and the faults that are still there.

`FOUND` has the programs. One whose fault is known has a name in ``fault``; its test is expected to fail. Random
programs leave out what may show a known fault (`COVERED`), so that they find others. Once a fault is mended, its test
fails because it passes: delete its entry in `COVERED` and its name in `FOUND`, and keep the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.attack.calls import Call, Foreign, Method, Query, Signal, Update
from tests.attack.live_thread import Situation
from tests.attack.programs import Program
from tests.attack.values import CONFIG, MARK, PAYLOADS, Named, empty_payload, huge_number, levels


@dataclass(frozen=True)
class Found:
    """A program that has shown a fault."""

    what: str
    program: Program
    fault: str = ""
    """The name of the fault in `FAULTS`, while it is there."""


FAULTS = {
    "4": "issue 9, 4: messages of another shape make the workflow task fail, vanish, or have raw errors",
    "5": "issue 9, 5: an answer that nests too deep makes the workflow task fail",
    "7": "issue 9, 7: exceptions that are no Exception are retried without end",
    "14": "issue 9, 14: raw errors for arguments of another type, and for damaged records",
    "A3": "a run whose worker has a setting that is no number never begins, and nobody is told",
    "A7": "graph files that raise a BaseException, or whose variable has hostile attributes, end in a raw error",
    "A6": "super-steps that are none are accepted and do nothing; values beside super-steps are dropped",
}
"""The faults that are known and still there."""


def _of(what: str, on: Situation, call: Call, fault: str = "", kind: str = "sync-thread") -> Found:
    return Found(what, Program(on, (call,), kind), fault)


def _node(do: str, fault: str = "", kind: str = "sync-thread") -> Found:
    return _of(f"a node does: {do}, {kind}", "new", Method("ainvoke", ({"do": do}, CONFIG)), fault, kind)


YES = {"resume": "yes"}

NO_STEPS = {"values": {"log": [MARK]}, "super_steps": []}

HUGE_ID = {"configurable": {"thread_id": huge_number}}

FOUND = (
    _of("a signal with two arguments", "waiting", Signal("resume", (YES, YES)), "4"),
    _of("a signal that is a text", "waiting", Signal("resume", ("yes",)), "4"),
    _of("a signal with a number of 6,000 digits", "waiting", Signal("resume", ({"resume": huge_number},)), "4"),
    _of("an update with two arguments", "waiting", Update("resume", (YES, YES)), "4"),
    _of("an update with a number of 6,000 digits", "waiting", Update("resume", ({"resume": huge_number},)), "4"),
    _of("a query with two arguments", "waiting", Query("get_state", ({}, {})), "4"),
    _of("an answer of 300 levels by signal", "waiting", Signal("resume", ({"resume": levels(300)},)), "5"),
    _of("an answer of 300 levels by update", "waiting", Update("resume", ({"resume": levels(300)},)), "5"),
    _node("raise asyncio.CancelledError", "7"),
    _node("raise GeneratorExit", "7", "sync-async"),
    _node("raise OwnBaseException", "7", "fused-async"),
    _node("raise BaseExceptionGroup", "7", "fused-thread"),
    _of("a fork of no super-steps by signal", "waiting", Signal("fork", ({"super_steps": []},)), "A6"),
    _of(
        "values beside super-steps", "waiting", Update("fork", ({"values": {"log": [MARK]}, "super_steps": []},)), "A6"
    ),
    _of("an author that is no text", "waiting", Method("aupdate_state", (CONFIG, {}), {"as_node": 5}), "14"),
    _of("a breakpoint that is no text", "done", Method("ainvoke", ({}, CONFIG), {"interrupt_after": [5]}), "14"),
    _of(
        "a thread id of 6,000 digits",
        "new",
        Method("aget_state", ({"configurable": {"thread_id": huge_number}},)),
        "14",
    ),
    _of("super-steps that are none", "waiting", Method("abulk_update_state", (CONFIG, None)), "14"),
    _of("a 'before' that is no config", "done", Method("aget_state_history", (CONFIG,), {"before": "x"}), "14"),
    _of("a foreign result that is no JSON", "done", Foreign("result", (empty_payload,)), "14"),
    _of("a foreign result of 300 levels", "done", Foreign("result", (levels(300),)), "14"),
    _of("a 'filter' that is no mapping", "done", Method("aget_state_history", (CONFIG,), {"filter": 5}), "14"),
)


UNREADABLE = {
    "surrogate",
    "10**6000",
    "levels(300)",
    "levels(196)",
    "levels(1200)",
    *(repr(payload) for payload in PAYLOADS),
}
"""Payloads that `from_json` does not take."""


def _parts(data: Any) -> list[Any]:
    """Return a drawn value and all its parts."""
    if isinstance(data, dict):
        return [data, *(part for value in data.values() for part in _parts(value))]
    if isinstance(data, list | tuple):
        return [data, *(part for value in data for part in _parts(value))]
    return [data]


def _named(data: Any) -> list[Named]:
    return [part for part in _parts(data) if isinstance(part, Named)]


def _names(call: Call) -> set[str]:
    return {part.name for part in _named(call.arguments)}


def _is_message_of_another_shape(call: Call) -> bool:
    """Return whether a message has several arguments, or one that the SDK cannot decode as a mapping."""
    if isinstance(call, Query):
        return len(call.arguments) > 1
    if not isinstance(call, Signal | Update):
        return False
    undecodable = {"10**6000", "levels(1200)"} & _names(call)
    return len(call.arguments) > 1 or bool(undecodable) or any(not isinstance(each, dict) for each in call.arguments)


def _is_deep_message(call: Call) -> bool:
    return isinstance(call, Signal | Update) and bool({"levels(196)", "levels(300)"} & _names(call))


def _ends_as_if_cancelled(call: Call) -> bool:
    nodes = {found.program.calls[0].arguments[0]["do"] for found in FOUND if found.fault == "7"}
    return isinstance(call, Method) and any(isinstance(part, str) and part in nodes for part in _parts(call.arguments))


def _has_argument_of_another_type(call: Call) -> bool:
    """Return whether a method gets a value of a type that it does not declare."""
    if not isinstance(call, Method):
        return isinstance(call, Foreign) and any(name in repr(call) for name in UNREADABLE)
    texts = all(isinstance(call.keywords.get(name), str | None) for name in ("as_node", "task_id"))
    mappings = all(isinstance(call.keywords.get(name), dict | None) for name in ("before", "filter"))
    breaks = all(_are_texts(call.keywords.get(name)) for name in ("interrupt_before", "interrupt_after"))
    limit = isinstance(call.keywords.get("limit"), int | None)
    config = call.arguments[1 if call.name == "ainvoke" else 0]
    shown = bool({"10**6000", "levels(1200)", "endless()"} & {each.name for each in _named(config)})
    return shown or not (texts and mappings and breaks and limit and _is_bulk(call))


def _has_super_steps_to_ignore(call: Call) -> bool:
    """Return whether a message has no super-step in its list, or values beside the list."""
    mappings = [part for part in _parts(call.arguments) if isinstance(part, dict) and "super_steps" in part]
    return any(part["super_steps"] is not None for part in mappings)


def _are_texts(value: Any) -> bool:
    return value is None or all(isinstance(each, str) for each in (value if isinstance(value, list) else [value]))


def _is_bulk(call: Method) -> bool:
    """Return whether the super-steps of a bulk update, if it is one, have authors that are texts."""
    if call.name != "abulk_update_state":
        return True
    steps = call.arguments[1]
    return isinstance(steps, list) and all(
        isinstance(step, list) and all(isinstance(update[1], str | None) for update in step) for step in steps
    )


def _is_no_number(value: str) -> bool:
    try:
        return not 0 <= float(value) < float("inf")
    except ValueError:
        return True


COVERED: dict[str, Callable[[Call], bool]] = {
    "4": _is_message_of_another_shape,
    "5": _is_deep_message,
    "7": _ends_as_if_cancelled,
    "14": _has_argument_of_another_type,
    "A6": _has_super_steps_to_ignore,
}
"""For each fault that is there, the calls that may show it."""

COVERED_SETTINGS: dict[str, Callable[[str, str], bool]] = {
    "A3": lambda name, value: _is_no_number(value),
}
"""The same for settings that a run reads."""


COVERED_FILES = {"A7": ("generator_exit.py", "interrupts.py", "hostile.py")}
"""The same for graph files."""


def is_known(program: Program) -> bool:
    """Return whether a program may show a fault that is known."""
    return any(covers(call) for covers in COVERED.values() for call in program.calls)


def is_known_setting(name: str, value: str) -> bool:
    """Return whether a run under a setting may show a fault that is known."""
    return any(covers(name, value) for covers in COVERED_SETTINGS.values())


def is_known_line(words: tuple[str, ...]) -> bool:
    """Return whether a command line may show a fault that is known."""
    return any(name in word for names in COVERED_FILES.values() for name in names for word in words)
