"""What can be done to a thread, said in one word each; a case's program is a few of these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.parity.dialect import Play

Step = Callable[[Play], Awaitable[Any]]


def invoke(input: Any, **options: Any) -> Step:
    """A run on an input; ``recursion_limit``, ``interrupt_before`` and ``interrupt_after`` as for one invoke."""

    async def step(play: Play) -> Any:
        return await _run(play, input, await play.at(None), **options)

    return step


def resume(**options: Any) -> Step:
    """``invoke(None)`` at the head."""
    return invoke(None, **options)


def replay(at: int, **options: Any) -> Step:
    """``invoke(None)`` at the n-th checkpoint, counted from the thread's first."""

    async def step(play: Play) -> Any:
        return await _run(play, None, await play.at(at), **options)

    return step


def update(values: Any, as_node: str | None = None, at: int | None = None) -> Step:
    """``update_state`` at the head, or at the n-th checkpoint."""

    async def step(play: Play) -> Any:
        await play.graph.aupdate_state(await play.at(at), values, as_node)

    return step


def bulk(*supersteps: list[tuple[Any, str]]) -> Step:
    """``bulk_update_state`` at the head: each list of ``(values, as_node)`` is made together."""

    async def step(play: Play) -> Any:
        made = [[play.dialect.StateUpdate(*each) for each in superstep] for superstep in supersteps]
        await play.graph.abulk_update_state(play.config, made)

    return step


def answer(resume: Any, **options: Any) -> Step:
    """``Command(resume=...)`` for the one question that waits."""

    async def step(play: Play) -> Any:
        return await _run(play, play.dialect.Command(resume=resume), play.config, **options)

    return step


def answer_each(**answers: Any) -> Step:
    """``Command(resume={id: answer})``: the answers are given by the questions that wait."""

    async def step(play: Play) -> Any:
        ids = {asked.value: asked.id for asked in (await play.graph.aget_state(play.config)).interrupts}
        resume = {ids[question]: given for question, given in answers.items()}
        return await _run(play, play.dialect.Command(resume=resume), play.config)

    return step


async def _run(play: Play, input: Any, config: Any, recursion_limit: int | None = None, **options: Any) -> Any:
    if recursion_limit is not None:
        config = {**config, "recursion_limit": recursion_limit}
    return await play.graph.ainvoke(input, config, **options)
