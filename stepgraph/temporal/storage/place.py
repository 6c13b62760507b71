"""What a place for payloads is, and how it fails."""

from __future__ import annotations

from abc import abstractmethod

from temporalio.contrib.aws.s3driver import S3StorageDriverClient


class PlaceError(Exception):
    """The place refuses: no permission, no bucket, no room. Trying again right away is of no use."""


class UnreachableError(PlaceError):
    """The place does not answer; it may before long."""


class AbsentError(PlaceError):
    """The place is in order, and holds nothing under the key."""


class Place(S3StorageDriverClient):
    """What the SDK's S3 driver asks of a bucket. Raises nothing but a `PlaceError`."""

    address: str
    """As the setting names it."""

    @abstractmethod
    async def check(self) -> None:
        """Raises `PlaceError` unless payloads can be put here."""
