"""Operations on a thread, such as `invoke` and `update`, that work alike in both libraries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.parity.libraries import STEPGRAPH, ParityThread

Operation = Callable[[ParityThread], Awaitable[Any]]


def invoke(input: Any, **options: Any) -> Operation:
    """Run on an input.

    Args:
        input: the input, or `None` to resume.
        options: ``recursion_limit``, ``interrupt_before`` and ``interrupt_after``, for this invoke.
    """

    async def operation(thread: ParityThread) -> Any:
        return await _run(thread, input, await thread.config_at(None), **options)

    return operation


def resume(**options: Any) -> Operation:
    """Run ``invoke(None)`` at the head."""
    return invoke(None, **options)


def replay(at: int, **options: Any) -> Operation:
    """Run ``invoke(None)`` at the n-th checkpoint, counted from the thread's first."""

    async def operation(thread: ParityThread) -> Any:
        return await _run(thread, None, await thread.config_at(at), **options)

    return operation


def update(values: Any, as_node: str | None = None, at: int | None = None) -> Operation:
    """Call ``update_state`` at the head, or at the n-th checkpoint."""

    async def operation(thread: ParityThread) -> Any:
        await thread.graph.aupdate_state(await thread.config_at(at), values, as_node)

    return operation


def fork(values: Any, as_node: str | None = None, at: int | None = None) -> Operation:
    """Call ``fork`` at the head, or at the n-th checkpoint. In LangGraph it is an update and then ``invoke(None)``."""

    async def operation(thread: ParityThread) -> Any:
        config = await thread.config_at(at)
        if thread.library is STEPGRAPH:
            return await thread.graph.afork(config, values, as_node)
        await thread.graph.aupdate_state(config, values, as_node)
        return await _run(thread, None, thread.config)

    return operation


def bulk(*supersteps: list[tuple[Any, str]]) -> Operation:
    """Call ``bulk_update_state`` at the head: the ``(values, as_node)`` of each list are applied in one super-step."""

    async def operation(thread: ParityThread) -> Any:
        updates = [[thread.library.StateUpdate(*update) for update in superstep] for superstep in supersteps]
        await thread.graph.abulk_update_state(thread.config, updates)

    return operation


def answer(resume: Any, **options: Any) -> Operation:
    """Run ``Command(resume=...)`` with one answer, for the one waiting interrupt."""

    async def operation(thread: ParityThread) -> Any:
        return await _run(thread, thread.library.Command(resume=resume), thread.config, **options)

    return operation


def answer_each(**answers: Any) -> Operation:
    """Run ``Command(resume={id: answer})``. Each keyword is the value of a waiting interrupt."""

    async def operation(thread: ParityThread) -> Any:
        interrupts = (await thread.graph.aget_state(thread.config)).interrupts
        ids = {interrupt.value: interrupt.id for interrupt in interrupts}
        resume = {ids[value]: answer for value, answer in answers.items()}
        return await _run(thread, thread.library.Command(resume=resume), thread.config)

    return operation


def answer_by_id(values: list[Any], answer: Any = "yes", **parts: Any) -> Operation:
    """Run ``Command(resume={id: answer})`` for the waiting interrupts of these values, each as often as it is named.

    Args:
        values: which interrupts are answered.
        answer: the answer to all of them.
        parts: other arguments of the `Command`; ``sends`` are ``(node, arg)`` that its ``goto`` has beside names.
    """

    async def operation(thread: ParityThread) -> Any:
        interrupts, left = (await thread.graph.aget_state(thread.config)).interrupts, list(values)
        ids = []
        for interrupt in interrupts:
            if interrupt.value in left:
                left.remove(interrupt.value)
                ids.append(interrupt.id)
        sends = [thread.library.Send(*each) for each in parts.get("sends", ())]
        given = {"update": parts.get("update"), "goto": [*parts.get("goto", ()), *sends]}
        resume = dict.fromkeys(ids, answer) or None
        return await _run(thread, thread.library.Command(resume=resume, **given), thread.config)

    return operation


async def _run(
    thread: ParityThread, input: Any, config: Any, recursion_limit: int | None = None, **options: Any
) -> Any:
    if recursion_limit is not None:
        config = {**config, "recursion_limit": recursion_limit}
    return await thread.graph.ainvoke(input, config, **options)
