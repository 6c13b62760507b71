"""Several invocations at once: `CompiledGraph.batch`, with LangChain's arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from stepgraph.errors import InvalidInputError
from stepgraph.protocol.config import Config

Configs = Config | Sequence[Config] | None
"""The config of all inputs of a batch, or one for each."""


async def invoke_all(
    invoke: Callable[[Any, Config | None], Awaitable[Any]],
    inputs: Sequence[Any],
    config: Configs,
    *,
    return_exceptions: bool,
) -> list[Any]:
    """Invoke a graph on each input, at most ``max_concurrency`` of the config at once; return the results in order.

    Without ``return_exceptions``, the first error in the order of the inputs is raised once all have ended.
    """
    configs = _one_each(inputs, config)
    limits = [each.get("max_concurrency") for each in configs if isinstance(each, Mapping)]
    limit = next((value for value in limits if isinstance(value, int) and value > 0), len(inputs))
    turns = asyncio.Semaphore(max(limit, 1))

    async def one(input: Any, own_config: Config | None) -> Any:
        async with turns:
            return await invoke(input, own_config)

    results = await asyncio.gather(*map(one, inputs, configs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not (return_exceptions and isinstance(result, Exception)):
            raise result
    return list(results)


def _one_each(inputs: Sequence[Any], config: Configs) -> list[Config | None]:
    if config is None or isinstance(config, Mapping):
        return [config] * len(inputs)
    if len(config) != len(inputs):
        raise InvalidInputError(
            f"batch takes one config for all inputs, or one for each: got {len(config)} for {len(inputs)}."
        )
    return list(config)
