"""From the setting to the SDK's `ExternalStorage`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import ExternalStorage

from stepgraph.errors import StepgraphError, StorageError
from stepgraph.protocol.paging import PAGE_SIZE
from stepgraph.temporal.payloads import REPEATS, REPEATS_FROM
from stepgraph.temporal.settings import text
from stepgraph.temporal.storage.driver import NoStorage, Storage
from stepgraph.temporal.storage.folder import Folder
from stepgraph.temporal.storage.place import Place, PlaceError
from stepgraph.temporal.storage.s3 import Bucket

THRESHOLD = PAGE_SIZE + 1_000
"""Bytes from which a payload goes to storage. What is smaller can be read in the Web UI, and by Temporal's own tools:
a query's answer that comes in one piece is."""


def external_storage(address: str | Path) -> ExternalStorage:
    """External storage at an address: ``s3://bucket/prefix``, ``file:///folder``, or a folder's path.

    Raises:
        StepgraphError: the address means nothing, or its driver is not installed.
    """
    place, bucket = _place(str(address))
    driver = Storage(place, bucket)
    return ExternalStorage(
        [driver],
        driver_selector=lambda context, payload: driver if _is_stored(payload) else None,
        payload_size_threshold=REPEATS_FROM,
    )


def no_storage() -> ExternalStorage:
    """Stores nothing, and fails with a clear error where something was stored."""
    return ExternalStorage([NoStorage()], driver_selector=lambda context, payload: None)


def read_only_storage(storage: ExternalStorage) -> ExternalStorage:
    """The same storage for a replay, which makes all that a run sent once more, and sends nothing."""
    return replace(storage, driver_selector=lambda context, payload: None)


def storage_from_settings(*, embedded_at: Path | None = None) -> ExternalStorage:
    """The storage that `STEPGRAPH_STORAGE` names; without it, none, or the embedded server's own."""
    given = text("STEPGRAPH_STORAGE")
    if given == "none" or (given is None and embedded_at is None):
        return no_storage()
    return external_storage(given or str(embedded_at))


def with_storage_errors(client: Client) -> Client:
    """The client, which if it has no storage then fails with a clear error where something was stored."""
    config: Any = client.config(active_config=True)
    if client.data_converter.external_storage is not None or config["plugins"]:
        return client
    return Client(**{**config, "data_converter": replace(client.data_converter, external_storage=no_storage())})


async def check(client: Client) -> None:
    """Raises `StorageError` unless the client's storage, if it is stepgraph's, can be written."""
    storage = client.data_converter.external_storage
    for driver in storage.drivers if storage is not None else ():
        if isinstance(driver, Storage):
            try:
                await driver.place.check()
            except PlaceError as error:
                raise StorageError(
                    f"The storage {driver.place.address}, which STEPGRAPH_STORAGE names, cannot be used: {error}. "
                    "Mend or change it.",
                    storage=driver.place.address,
                ) from error


def _is_stored(payload: Payload) -> bool:
    return REPEATS in payload.metadata or payload.ByteSize() >= THRESHOLD


def _place(address: str) -> tuple[Place, str]:
    """The place, and what its driver is to call the bucket."""
    parts = urlsplit(address)
    if parts.scheme == "s3" and parts.netloc and not (parts.query or parts.fragment):
        return Bucket(parts.netloc, parts.path.strip("/")), parts.netloc
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        return Folder(Path(unquote(parts.path))), "folder"
    if not parts.scheme and address.strip():
        return Folder(Path(address).expanduser().resolve()), "folder"
    raise StepgraphError(
        f"STEPGRAPH_STORAGE is s3://bucket/prefix, file:///folder, a folder's path, or none; got {address!r}.",
        setting="STEPGRAPH_STORAGE",
    )
