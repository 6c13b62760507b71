"""The interface of a store for payloads, and the errors with which a store fails."""

from __future__ import annotations

from abc import abstractmethod

from temporalio.contrib.aws.s3driver import S3StorageDriverClient


class ObjectStoreError(Exception):
    """The store refuses: no permission, no bucket, no space left. An immediate retry would fail in the same way."""


class UnreachableError(ObjectStoreError):
    """The store does not answer. A retry may succeed."""


class ObjectNotFoundError(ObjectStoreError):
    """The store answers, and has no object under the key."""


class ObjectStore(S3StorageDriverClient):
    """The store that the SDK's S3 driver reads and writes, be it a bucket or a folder.

    Methods raise no other errors than `ObjectStoreError`.
    """

    address: str
    """The store's URL, in a form that `STEPGRAPH_STORAGE` accepts."""

    @abstractmethod
    async def check(self) -> None:
        """Raise `ObjectStoreError` unless the store can be used."""
