"""The search attributes by which Temporal finds threads: their names, and their registration with the namespace.

They are optional. If the server forbids their registration, runs do without them, and everything else works.
"""

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
from stepgraph.temporal.rpc import retried

GRAPH: Final = SearchAttributeKey.for_keyword("StepgraphGraph")
"""The graph's name."""
STATUS: Final = SearchAttributeKey.for_keyword("StepgraphStatus")
"""``running``, ``waiting``, ``failed``, ``complete``, or ``refused``: the latest run did nothing of what it was for."""
WAITS_FOR: Final = SearchAttributeKey.for_keyword("StepgraphWaitsFor")
"""The node that waits at an interrupt or breakpoint."""
FORKED_FROM: Final = SearchAttributeKey.for_keyword("StepgraphForkedFrom")
"""The thread that this one was forked from."""

NAMES: Final = tuple(key.name for key in (GRAPH, STATUS, WAITS_FOR, FORKED_FROM))

LOOK_AGAIN_SECONDS = 60.0
"""How long the answer that attributes are missing is cached. The answer that none is missing is cached for good."""

PROPAGATION_SECONDS = 5.0
"""How long to wait until all of the server knows a new registration."""

log = get_logger("search")
_known: dict[tuple[str, str], tuple[float, bool]] = {}
"""By server address and namespace: when the attributes were looked up, and whether all were there."""


async def attributes_registered(client: Client) -> bool:
    """Return whether the namespace has all the attributes. The answer is cached for each namespace."""
    looked_up_at, registered = _known.get(_cache_key(client), (0.0, False))
    if registered or time.monotonic() < looked_up_at + LOOK_AGAIN_SECONDS:
        return registered
    registered = await _missing(client) == []
    _known[_cache_key(client)] = (time.monotonic(), registered)
    return registered


async def register(client: Client) -> bool:
    """Register the attributes that are missing; return whether the namespace has all of them afterwards.

    If the server forbids the registration, it is skipped.
    """
    missing = await _missing(client)
    if missing:
        request = AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
        )
        try:
            await retried(lambda: client.operator_service.add_search_attributes(request))
        except RPCError as error:
            log.info("search attributes are not registered: the server refuses it", error=str(error))
            missing = await _missing(client)  # none if another worker has registered them meanwhile
        else:
            missing = await _missing(client)
        give_up_at = time.monotonic() + PROPAGATION_SECONDS
        while missing and time.monotonic() < give_up_at:
            await asyncio.sleep(0.1)
            missing = await _missing(client)
    _known[_cache_key(client)] = (time.monotonic(), missing == [])
    return missing == []


def _cache_key(client: Client) -> tuple[str, str]:
    return client.service_client.config.target_host, client.namespace


async def _missing(client: Client) -> list[str] | None:
    """Return the attributes that the namespace lacks or has as another type; `None` if the server does not say."""
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        response = await retried(lambda: client.operator_service.list_search_attributes(request))
    except RPCError:
        return None
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return [name for name in NAMES if response.custom_attributes.get(name) != keyword]
