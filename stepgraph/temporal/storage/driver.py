"""The storage drivers of stepgraph, whose errors name the key, the store and the fix.

What an error becomes decides what happens to the run:

- An activity fails without another attempt when its result cannot be stored, because every attempt would run the node
  again, and when a payload is lost, because no attempt would find it.
- Anything else that a person can fix (the store is out of reach, a worker lacks the setting) fails the current
  workflow task or activity attempt, which the server schedules again.
- The same goes for a lost payload that a workflow needs. The run waits, and goes on if the payload is restored.
  Failing the run would discard its results, because a replay without the payload cannot recover them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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
from stepgraph.temporal.storage.object_store import (
    ObjectNotFoundError,
    ObjectStore,
    ObjectStoreError,
    UnreachableError,
)

T = TypeVar("T")

DRIVER_NAME = "stepgraph"
"""The name of both drivers, with every store. The SDK finds the driver for a reference by name, so a process with
another store, or with none, can still report where the payload is."""

ADDRESS_FIELD = "storage"
"""The field of a reference that holds the address of the store to which its payload was written."""

MAX_PAYLOAD_BYTES = 1_000_000_000
RETRY_DELAYS_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Pauses between attempts while a store does not answer: a short outage must not make a finished node run again."""


class FinalStorageError(StorageError, ApplicationError):
    """A `StorageError` with which an activity fails for good: Temporal makes no further attempt."""

    message = ""  # replaces a property of the SDK that has no setter, because StorageError assigns to it

    def __init__(self, message: str, **parts: str) -> None:
        ApplicationError.__init__(self, message, type=StorageError.__name__, non_retryable=True)
        StorageError.__init__(self, message, **parts)
        # The details that every failure of a run has: the error, and in this case no record.
        to_send = failure(message, self.to_wire(), None, type=StorageError.__name__).failure
        assert to_send is not None
        sdk_internals.with_failure(self, to_send)


class ObjectStoreDriver(StorageDriver):
    """Stores payloads in one store and reads them from it, by means of the SDK's S3 driver."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self.object_store = store
        self._driver = S3StorageDriver(store, bucket, max_payload_size=MAX_PAYLOAD_BYTES)

    def name(self) -> str:
        """Return the name that every reference has."""
        return DRIVER_NAME

    def type(self) -> str:
        """Return the type of driver that workers report to the server."""
        return DRIVER_NAME

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Store payloads. `StorageError` if that fails."""
        address = self.object_store.address
        try:
            claims = await _with_retries(partial(self._driver.store, context, payloads))
        except Exception as error:
            size = sum(payload.ByteSize() for payload in payloads)
            kind = FinalStorageError if activity.in_activity() else StorageError
            raise kind(
                f"{size:,} bytes could not be stored in {address} (STEPGRAPH_STORAGE): {_reason(error)}. "
                "Fix the storage, then resume the thread.",
                storage=address,
            ) from error
        return [StorageDriverClaim({**claim.claim_data, ADDRESS_FIELD: address}) for claim in claims]

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read payloads. `StorageError` if one is lost or damaged, or if the store cannot be read."""
        payloads = []
        for claim in claims:
            try:
                payloads += await _with_retries(partial(self._driver.retrieve, context, [claim]))
            except Exception as error:
                self._raise_read_error(claim, error)
        return payloads

    def _raise_read_error(self, claim: StorageDriverClaim, error: Exception) -> NoReturn:
        reason = _reason(error)
        address = self.object_store.address
        written_to = claim.claim_data.get(ADDRESS_FIELD, address)
        key = claim.claim_data.get("key", "")
        not_found = isinstance(reason, ObjectNotFoundError)
        damaged = isinstance(error, ValueError)  # the SDK's driver checks the hash
        if not_found and written_to == address:
            text = f"A payload is gone from {address} (STEPGRAPH_STORAGE): {key}. Restore it, if there is a copy"
        elif not_found:
            text = (
                f"A payload was stored in {written_to}, and this process reads from {address}, which has no copy of "
                f"it: {key}. Set STEPGRAPH_STORAGE={written_to}"
            )
        elif damaged:
            text = f"A payload in {address} (STEPGRAPH_STORAGE) is damaged: {key}. Restore it from a copy"
        else:
            text = f"A payload cannot be read from {address} (STEPGRAPH_STORAGE): {reason}. Fix the storage. Key: {key}"
        lost = damaged or (not_found and written_to == address)
        kind = FinalStorageError if lost and activity.in_activity() else StorageError
        raise kind(f"{text}.", storage=written_to, key=key) from error


class NoStorageDriver(StorageDriver):
    """The driver of a process without external storage. It stores nothing, and reading fails with a clear error."""

    def name(self) -> str:
        """Return the name in references, so that the SDK calls this driver for them."""
        return DRIVER_NAME

    def type(self) -> str:
        """Return the type of driver that workers report to the server."""
        return "none"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Not called: the driver selector chooses no driver."""
        raise NotImplementedError

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Raise `StorageError` with the address of the store that has the payload."""
        written_to, key = claims[0].claim_data.get(ADDRESS_FIELD), claims[0].claim_data.get("key")
        raise StorageError(
            f"Part of the thread is in external storage, and this process has none. Set STEPGRAPH_STORAGE={written_to} "
            "for every worker and client, or give a client of your own that storage.",
            storage=written_to,
            key=key,
        )


def uses_storage(client: Client) -> bool:
    """Return whether a client puts large payloads into external storage, with stepgraph's driver or any other."""
    storage = client.data_converter.external_storage
    return storage is not None and not any(isinstance(driver, NoStorageDriver) for driver in storage.drivers)


def _reason(error: Exception) -> BaseException:
    """Return the store's own error where the SDK's driver has wrapped one, otherwise the error itself."""
    return error.__cause__ if isinstance(error.__cause__, ObjectStoreError) else error


async def _with_retries(request: Callable[[], Awaitable[T]]) -> T:
    """Make a request, and make it again after each of the pauses while the store does not answer."""
    for delay in RETRY_DELAYS_SECONDS:
        try:
            return await request()
        except Exception as error:
            if not isinstance(error.__cause__, UnreachableError):
                raise
        await asyncio.sleep(delay)
    return await request()
