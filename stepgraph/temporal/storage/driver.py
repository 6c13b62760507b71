"""The SDK's storage driver with errors that name key, place and mend.

How a failure is told decides what becomes of a run. An activity fails for good when its result cannot be stored, for
the node would be run again and again, and when a payload is gone, for no other attempt would find it. Whatever else
somebody can put right (the place is out of reach, a worker lacks the setting) fails the task at hand, which the server
gives out again. So does a payload that a workflow lacks: the run waits, and goes on should the payload be restored;
to end it would lose what it did, for a replay without the payload cannot tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.aws.s3driver import S3StorageDriver
from temporalio.converter import (
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)
from temporalio.exceptions import ApplicationError

from stepgraph.errors import StorageError
from stepgraph.temporal import sdk_internals
from stepgraph.temporal.payloads import failure
from stepgraph.temporal.storage.place import AbsentError, Place, PlaceError, UnreachableError

T = TypeVar("T")

NAME = "stepgraph"
"""Of the driver, whichever place it has: so that one which has none, or another, can say where a payload is."""

ADDRESS = "storage"
"""In a reference: where its payload was put."""

PAYLOAD_MAX = 1_000_000_000
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts at a place that does not answer: a node that is done should not be run again for it."""


class FinalStorageError(StorageError, ApplicationError):
    """A `StorageError` that Temporal takes for final, when an activity fails with it."""

    message = ""  # in place of a property of the SDK's, to which nothing can be assigned

    def __init__(self, message: str, **parts: str) -> None:
        ApplicationError.__init__(self, message, type=StorageError.__name__, non_retryable=True)
        StorageError.__init__(self, message, **parts)
        # As of every failure of a run: the error, and here no record.
        own = failure(message, self.to_wire(), None, type=StorageError.__name__).failure
        assert own is not None
        sdk_internals.with_failure(self, own)


class Storage(StorageDriver):
    """Stores in one place, and reads from it."""

    def __init__(self, place: Place, bucket: str) -> None:
        self.place = place
        self._driver = S3StorageDriver(place, bucket, max_payload_size=PAYLOAD_MAX)

    def name(self) -> str:
        """In every reference."""
        return NAME

    def type(self) -> str:
        """What the server is told that workers use."""
        return NAME

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Puts payloads there. `StorageError` when that cannot be done."""
        try:
            claims = await _patiently(lambda: self._driver.store(context, payloads))
        except Exception as error:
            reason = error.__cause__ if isinstance(error.__cause__, PlaceError) else error
            size = sum(payload.ByteSize() for payload in payloads)
            kind = FinalStorageError if activity.in_activity() else StorageError
            raise kind(
                f"{size:,} bytes could not be stored in {self.place.address} (STEPGRAPH_STORAGE): {reason}. "
                "Mend the storage, then resume the thread.",
                storage=self.place.address,
            ) from error
        return [StorageDriverClaim({**claim.claim_data, ADDRESS: self.place.address}) for claim in claims]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Reads payloads. `StorageError` for one that is gone or damaged, or for a place in trouble."""
        found = []
        for claim in claims:
            try:
                found += await _patiently(lambda claim=claim: self._driver.retrieve(context, [claim]))  # type: ignore[misc]  # mypy and lambda defaults
            except Exception as error:
                self._tell(claim, error)
        return found

    def _tell(self, claim: StorageDriverClaim, error: Exception) -> NoReturn:
        reason = error.__cause__ if isinstance(error.__cause__, PlaceError) else error
        here, there = self.place.address, claim.claim_data.get(ADDRESS, self.place.address)
        key = claim.claim_data.get("key", "")
        lost = (isinstance(reason, AbsentError) and here == there) or isinstance(error, ValueError)
        if lost and isinstance(reason, AbsentError):
            what = f"A payload is gone from {here} (STEPGRAPH_STORAGE): {key}. Restore it, if there is a copy"
        elif lost:
            what = f"A payload in {here} (STEPGRAPH_STORAGE) is damaged: {key}. Restore it from a copy"
        elif isinstance(reason, AbsentError):
            what = (
                f"A payload was stored in {there}, and this process reads from {here}, which has no copy of it: {key}. "
                f"Set STEPGRAPH_STORAGE={there}"
            )
        else:
            what = f"A payload cannot be read from {here} (STEPGRAPH_STORAGE): {reason}. Mend the storage. Key: {key}"
        kind = FinalStorageError if lost and activity.in_activity() else StorageError
        raise kind(f"{what}.", storage=there, key=key) from error


class NoStorage(StorageDriver):
    """Of a process without storage: it stores nothing, and says what it would take to read."""

    def name(self) -> str:
        """As if it could read."""
        return NAME

    def type(self) -> str:
        """What the server is told."""
        return "none"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Never called."""
        raise NotImplementedError

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Says where the payload is."""
        there, key = claims[0].claim_data.get(ADDRESS), claims[0].claim_data.get("key")
        raise StorageError(
            f"Part of the thread is in external storage, and this process has none. Set STEPGRAPH_STORAGE={there} for "
            "every worker and client, or give a client of your own that storage.",
            storage=there,
            key=key,
        )


def uses_storage(client: Client) -> bool:
    """Whether a client's large payloads go to external storage, of stepgraph's or any other driver."""
    storage = client.data_converter.external_storage
    return storage is not None and not any(isinstance(driver, NoStorage) for driver in storage.drivers)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Does it, several times if the place does not answer."""
    for pause in PAUSES:
        try:
            return await work()
        except Exception as error:
            if not isinstance(error.__cause__, UnreachableError):
                raise
        await asyncio.sleep(pause)
    return await work()
