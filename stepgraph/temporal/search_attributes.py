"""The search attributes by which threads are found: their names, and their registration where that is allowed."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from stepgraph.temporal.logs import get_logger

GRAPH: Final = SearchAttributeKey.for_keyword("StepgraphGraph")
STATUS: Final = SearchAttributeKey.for_keyword("StepgraphStatus")
"""``running``, ``waiting``, ``failed`` or ``complete``."""
WAITS_FOR: Final = SearchAttributeKey.for_keyword("StepgraphWaitsFor")
"""The node that waits for people."""
FORKED_FROM: Final = SearchAttributeKey.for_keyword("StepgraphForkedFrom")
"""The thread that this one was forked from."""

NAMES: Final = tuple(key.name for key in (GRAPH, STATUS, WAITS_FOR, FORKED_FROM))

LOOK_AGAIN_SECONDS = 60.0
PROPAGATION_SECONDS = 5.0

log = get_logger("search")
_known: dict[tuple[str, str], tuple[float, bool]] = {}


async def attributes_registered(client: Client) -> bool:
    """Whether the namespace has the attributes; remembered, a no for a minute."""
    place = (client.service_client.config.target_host, client.namespace)
    at, known = _known.get(place, (0.0, False))
    if known or time.monotonic() < at + LOOK_AGAIN_SECONDS:
        return known
    found = await _missing(client) == []
    _known[place] = (time.monotonic(), found)
    return found


async def register(client: Client) -> bool:
    """Registers what is missing; whether the namespace has them all then. Where that is not allowed, it is let be."""
    missing = await _missing(client)
    if missing:
        request = AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
        )
        try:
            await client.operator_service.add_search_attributes(request)
        except RPCError as error:
            log.info("search attributes are left out: they may not be registered", error=str(error))
            missing = await _missing(client)  # unless another worker was faster
        else:
            missing = await _missing(client)
        until = time.monotonic() + PROPAGATION_SECONDS
        while missing and time.monotonic() < until:
            await asyncio.sleep(0.1)
            missing = await _missing(client)
    place = (client.service_client.config.target_host, client.namespace)
    _known[place] = (time.monotonic(), missing == [])
    return missing == []


async def _missing(client: Client) -> list[str] | None:
    """The attributes that the namespace lacks, or has as another type; `None` if it cannot be told."""
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError:
        return None
    wanted = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return [name for name in NAMES if answer.custom_attributes.get(name) != wanted]
