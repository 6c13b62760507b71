"""What a node may do that no node should: raise anything, return anything, change its arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from temporalio.exceptions import ApplicationError, CancelledError

from stepgraph import Command, interrupt
from stepgraph.errors import GraphRecursionError, NodeError, StepgraphError

Behaviour = Callable[[Any, dict[str, Any]], Any]


class OwnBaseException(BaseException):
    """An exception that ``except Exception`` does not catch."""


class UnprintableError(Exception):
    """An exception that has no text."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class UnpicklableError(Exception):
    """An exception that cannot be sent to another process."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class HostileMapping(Mapping[str, Any]):
    """A mapping whose values cannot be had."""

    def __getitem__(self, key: str) -> Any:
        raise OSError("no such value")

    def __iter__(self) -> Iterator[str]:
        return iter(["any"])

    def __len__(self) -> int:
        return 1


class HostileValue:
    """A value that is equal to nothing and has no text."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("not to be compared")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise ValueError("no text")


def nested(depth: int) -> Any:
    """Return lists nested this deep."""
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    """Return a list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


def raises(error: BaseException | type[BaseException]) -> Behaviour:
    def behave(state: Any, config: dict[str, Any]) -> Any:
        raise error

    return behave


def returns(make: Callable[[], Any]) -> Behaviour:
    return lambda state, config: make()


def in_a_circle(state: Any, config: dict[str, Any]) -> Any:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def recurse(state: Any, config: dict[str, Any]) -> Any:
    return recurse(state, config)


def mutate(state: Any, config: dict[str, Any]) -> Any:
    """Change everything within reach."""
    state.get("log", []).append("changed in place")
    state.clear()
    config["configurable"].clear()
    config["metadata"].clear()
    config.clear()
    return {"log": []}


def change_later(state: Any, config: dict[str, Any]) -> Any:
    """Return a list that grows while it may be encoded."""
    log: list[str] = []
    asyncio.get_running_loop().call_soon(log.append, "later") if _has_loop() else None
    return {"log": log}


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def interrupt_oddly(state: Any, config: dict[str, Any]) -> Any:
    return {"any": interrupt(object())}


def swallow_interrupt(state: Any, config: dict[str, Any]) -> Any:
    try:
        interrupt("swallowed")
    except BaseException:
        return {"count": 3}


def generate(state: Any, config: dict[str, Any]) -> Any:
    yield {"count": 1}


class Later:
    """Something to await, about which Python does not warn if nobody does."""

    def __await__(self) -> Iterator[Any]:
        return iter(())


RAISED: dict[str, Behaviour] = {
    "raise Exception()": raises(Exception()),
    "raise KeyboardInterrupt": raises(KeyboardInterrupt),
    "raise SystemExit(3)": raises(SystemExit(3)),
    "raise GeneratorExit": raises(GeneratorExit),
    "raise asyncio.CancelledError": raises(asyncio.CancelledError),
    "raise OwnBaseException": raises(OwnBaseException),
    "raise BaseExceptionGroup": raises(BaseExceptionGroup("several", [OwnBaseException()])),
    "raise ExceptionGroup": raises(ExceptionGroup("several", [ValueError("one"), KeyError("two")])),
    "raise StopIteration": raises(StopIteration(1)),
    "raise StopAsyncIteration": raises(StopAsyncIteration),
    "raise MemoryError": raises(MemoryError),
    "raise TimeoutError": raises(TimeoutError()),
    "raise UnprintableError": raises(UnprintableError()),
    "raise UnpicklableError": raises(UnpicklableError(lambda: None)),
    "raise a surrogate": raises(ValueError("\ud800")),
    "raise 3 MB": raises(ValueError("x" * 3_000_000)),
    "raise in a circle": in_a_circle,
    "raise RecursionError": recurse,
    "raise StepgraphError": raises(StepgraphError("mine", thread_id="other", parts=1, args=(), add_note=2)),
    "raise NodeError": raises(NodeError("mine", node="other", error_type=5)),
    "raise GraphRecursionError": raises(GraphRecursionError("mine")),
    "raise ApplicationError": raises(ApplicationError("mine", {"a": 1}, type="NodeError", non_retryable=False)),
    "raise Temporal's CancelledError": raises(CancelledError("mine")),
}

RETURNED: dict[str, Behaviour] = {
    "return 5": returns(lambda: 5),
    "return a text": returns(lambda: "text"),
    "return object()": returns(object),
    "return a set": returns(lambda: {"any"}),
    "return a generator": lambda state, config: generate(state, config),
    "return an awaitable": returns(Later),
    "return an awaitable in a channel": returns(lambda: {"any": Later()}),
    "return HostileMapping": returns(HostileMapping),
    "return HostileValue": returns(lambda: {"any": HostileValue()}),
    "return a key that is no text": returns(lambda: {5: 1, None: 2}),
    "return an unknown channel": returns(lambda: {"cuont": 1}),
    "return a wrong type": returns(lambda: {"count": "many"}),
    "return NaN": returns(lambda: {"any": float("nan")}),
    "return infinity": returns(lambda: {"any": [float("inf"), float("-inf")]}),
    "return 10**400": returns(lambda: {"any": 10**400}),
    "return 10**6000": returns(lambda: {"any": 10**6000}),
    "return count 10**6000": returns(lambda: {"count": 10**6000}),
    "return a surrogate": returns(lambda: {"any": "\ud800"}),
    "return a surrogate key": returns(lambda: {"any": {"\ud800": 1}}),
    "return NUL": returns(lambda: {"any": "\0"}),
    "return 99 levels": returns(lambda: {"any": nested(99)}),
    "return 101 levels": returns(lambda: {"any": nested(101)}),
    "return 196 levels": returns(lambda: {"any": nested(196)}),
    "return 300 levels": returns(lambda: {"any": nested(300)}),
    "return 5000 levels": returns(lambda: {"any": nested(5000)}),
    "return itself": returns(lambda: {"any": endless()}),
    "return bytes": returns(lambda: {"any": b"\xff"}),
    "return 1.8 MB": returns(lambda: {"any": "x" * 1_800_000}),
    "return 3 MB": returns(lambda: {"any": "x" * 3_000_000}),
    "return 5000 mappings": returns(lambda: [{"log": ["x"]} for _ in range(5000)]),
    "return a list of odd things": returns(lambda: [None, {"count": 1}, 5]),
    "return Command": returns(lambda: Command(resume="yes")),
    "return two counts": returns(lambda: [{"count": 1}, {"count": 2}]),
}

BEHAVIOURS: dict[str, Behaviour] = {
    **RAISED,
    **RETURNED,
    "mutate": mutate,
    "change later": change_later,
    "interrupt(object())": interrupt_oddly,
    "swallow the interrupt": swallow_interrupt,
}
