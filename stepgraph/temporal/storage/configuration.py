"""Makes the SDK's `ExternalStorage` from an address or from the setting, and checks what a client has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import DataConverter, ExternalStorage

from stepgraph.errors import StepgraphError, StorageError
from stepgraph.protocol.paging import PAGE_SIZE
from stepgraph.temporal.payloads import REPEATS, REPEATS_FROM
from stepgraph.temporal.settings import text_setting
from stepgraph.temporal.storage.driver import NoStorageDriver, ObjectStoreDriver
from stepgraph.temporal.storage.folder import Folder
from stepgraph.temporal.storage.object_store import ObjectStore, ObjectStoreError
from stepgraph.temporal.storage.s3 import Bucket

STORED_FROM_BYTES = PAGE_SIZE + 1_000
"""Size from which a payload goes to external storage. Smaller ones stay readable in the Web UI and for Temporal's own
tools. A page of a query result is smaller."""


def external_storage(address: str | Path) -> ExternalStorage:
    """Return external storage at an address: ``s3://bucket/prefix``, ``file:///folder``, or a folder's path.

    Raises:
        StepgraphError: the address has another form, or boto3 is not installed.

    Examples:
        >>> from temporalio.converter import DataConverter
        >>> converter = DataConverter(external_storage=external_storage("/mnt/threads"))
    """
    store, bucket = _parse_address(str(address))
    driver = ObjectStoreDriver(store, bucket)
    return ExternalStorage(
        [driver],
        driver_selector=lambda context, payload: driver if _is_stored(payload) else None,
        payload_size_threshold=REPEATS_FROM,
    )


def no_storage() -> ExternalStorage:
    """Return storage that stores nothing, and that fails with a clear error when a stored payload is read."""
    return ExternalStorage([NoStorageDriver()], driver_selector=lambda context, payload: None)


def read_only_storage(storage: ExternalStorage) -> ExternalStorage:
    """Return the same storage for a replayer, which makes every payload of a run again and must not store it again."""
    return replace(storage, driver_selector=lambda context, payload: None)


def read_only_converter(converter: DataConverter) -> DataConverter:
    """Return a data converter for replays: with external storage that is only read, or with `no_storage`."""
    storage = converter.external_storage
    return replace(converter, external_storage=no_storage() if storage is None else read_only_storage(storage))


def storage_from_settings(*, embedded_at: Path | None = None) -> ExternalStorage:
    """Return the storage that `STEPGRAPH_STORAGE` names. If it is not set, use the embedded server's folder, if given.

    Args:
        embedded_at: the embedded server's folder for payloads; None with any other server.
    """
    setting = text_setting("STEPGRAPH_STORAGE")
    if setting == "none" or (setting is None and embedded_at is None):
        return no_storage()
    return external_storage(setting or str(embedded_at))


def with_missing_storage_errors(client: Client) -> Client:
    """Return the client; if it has no external storage, a copy with `no_storage`, which reports the missing setting.

    A client with plugins is returned as it is: a plugin may configure the data converter, and a copy would run the
    plugins a second time.
    """
    config: Any = client.config(active_config=True)
    if client.data_converter.external_storage is not None or config["plugins"]:
        return client
    return Client(**{**config, "data_converter": replace(client.data_converter, external_storage=no_storage())})


async def check_storage(client: Client) -> None:
    """Raise `StorageError` if the client's storage is stepgraph's and cannot be used."""
    storage = client.data_converter.external_storage
    for driver in storage.drivers if storage is not None else ():
        if isinstance(driver, ObjectStoreDriver):
            address = driver.object_store.address
            try:
                await driver.object_store.check()
            except ObjectStoreError as error:
                raise StorageError(
                    f"The storage {address}, which STEPGRAPH_STORAGE names, cannot be used: {error}. Fix or change it.",
                    storage=address,
                ) from error


def _is_stored(payload: Payload) -> bool:
    """Return whether a payload goes to external storage."""
    return REPEATS in payload.metadata or payload.ByteSize() >= STORED_FROM_BYTES


def _parse_address(address: str) -> tuple[ObjectStore, str]:
    """Return the store at an address, and the name of the bucket for the SDK's driver. A folder has a fixed one."""
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
