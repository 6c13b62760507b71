"""Where payloads go: addresses, folders, buckets, and how each fails. No Temporal server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from stepgraph.errors import StepgraphError, StorageError
from stepgraph.temporal.payloads import to_raw
from stepgraph.temporal.storage import driver as driver_module
from stepgraph.temporal.storage import external_storage, no_storage, storage_from_settings
from tests.storing import BUCKET, objects, payloads_in, s3_bucket

LARGE = "x" * 1_100_000


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPGRAPH_STORAGE", raising=False)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket that is there, on an S3 endpoint of this machine."""
    with s3_bucket(monkeypatch) as address:
        yield address


def converter(storage: ExternalStorage, thread_id: str = "t1") -> DataConverter:
    """A data converter at work for a thread."""
    about = StorageDriverWorkflowInfo(namespace="default", id=thread_id, type="g", run_id="r1")
    made = DataConverter(external_storage=storage)
    return made._with_store_context(StorageDriverStoreContext(target=about))


async def sent(storage: ExternalStorage, value: object, thread_id: str = "t1") -> Payload:
    """What Temporal gets to carry."""
    [payload] = await converter(storage, thread_id).encode([to_raw(value)])
    return payload


async def received(storage: ExternalStorage, payload: Payload) -> object:
    """What is read again."""
    [value] = await converter(storage).decode([payload])
    return value


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/some/prefix/", "s3://bucket/some/prefix"),
        ("file:///var/lib/threads", "file:///var/lib/threads"),
        ("file:///var/a%20b", "file:///var/a%20b"),
        ("/var/lib/threads", "file:///var/lib/threads"),
    ],
)
def test_an_address_is_a_bucket_or_a_folder(given: str, address: str) -> None:
    """It is told in errors and in references as it was given."""
    [driver] = external_storage(given).drivers
    assert isinstance(driver, driver_module.Storage)
    assert driver.place.address == address


@pytest.mark.parametrize("given", ["s3://", "s3:///prefix", "http://host/x", "file://host/x", "gs://bucket", " "])
def test_another_address_is_refused(given: str) -> None:
    """With the setting's name and its forms."""
    with pytest.raises(StepgraphError, match="STEPGRAPH_STORAGE is s3://bucket/prefix, file:///folder, .* or none"):
        external_storage(given)


def test_the_setting_decides_before_the_embedded_servers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ``none`` switches storage off."""
    [own] = storage_from_settings(embedded_at=tmp_path).drivers
    assert isinstance(own, driver_module.Storage)
    assert own.place.address == tmp_path.as_uri()
    assert isinstance(storage_from_settings().drivers[0], driver_module.NoStorage)
    monkeypatch.setenv("STEPGRAPH_STORAGE", "none")
    assert isinstance(storage_from_settings(embedded_at=tmp_path).drivers[0], driver_module.NoStorage)
    monkeypatch.setenv("STEPGRAPH_STORAGE", "s3://bucket")
    [named] = storage_from_settings(embedded_at=tmp_path).drivers
    assert isinstance(named, driver_module.Storage)
    assert named.place.address == "s3://bucket"


async def test_a_payload_is_stored_once_under_its_run(tmp_path: Path) -> None:
    """What Temporal carries is a reference; equal payloads of a run share a file; a small one is left as it is."""
    storage = external_storage(tmp_path)
    first, again, small = [await sent(storage, value) for value in (LARGE, LARGE, "small")]
    assert first == again
    assert first.ByteSize() < 1_000
    assert small.data == b'"small"'
    [file] = payloads_in(tmp_path)
    assert file.parent.relative_to(tmp_path).as_posix() == "v0/ns/default/wt/g/wi/t1/ri/r1/d/sha256"
    assert await received(storage, first) == LARGE


@pytest.mark.parametrize("thread_id", ["..", ".", "../../../etc", "a/b", "x" * 1000, "ü" * 300, "con:1|*?"])
async def test_any_thread_id_makes_a_file_name(tmp_path: Path, thread_id: str) -> None:
    """None leads out of the folder, and none is too long."""
    root = tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "root"
    storage = external_storage(root)
    payload = await sent(storage, LARGE, thread_id)
    assert await received(storage, payload) == LARGE
    assert payloads_in(tmp_path) == payloads_in(root)
    [file] = payloads_in(root)
    assert len(file.relative_to(root).parts) in (6, 12)


async def test_writers_of_one_payload_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The file is there as a whole, and no draft of it is left."""
    storages = [external_storage(tmp_path) for _ in range(8)]
    payloads = await asyncio.gather(*(sent(storage, LARGE) for storage in storages))
    assert await received(storages[0], payloads[7]) == LARGE
    assert [path.name for path in tmp_path.rglob(".*")] == [".stepgraph-storage"]


async def test_a_payload_that_was_deleted_is_told(tmp_path: Path) -> None:
    """The error names the key and the setting; for an activity it is final, for no other attempt would find it."""
    storage = external_storage(tmp_path)
    payload = await sent(storage, LARGE)
    payloads_in(tmp_path)[0].unlink()
    with pytest.raises(StorageError, match=r"gone from file:///.*STEPGRAPH_STORAGE.*v0/ns/default/wt/g/wi/t1/") as told:
        await received(storage, payload)
    assert not isinstance(told.value, ApplicationError)

    async def read() -> None:
        await received(storage, payload)

    with pytest.raises(StorageError, match="gone from file:///") as told:
        await ActivityEnvironment().run(read)
    assert isinstance(told.value, ApplicationError)
    assert told.value.non_retryable
    assert told.value.to_wire()["type"] == "StorageError"


async def test_a_payload_that_was_changed_is_damaged(tmp_path: Path) -> None:
    """Its content is held against its name."""
    storage = external_storage(tmp_path)
    payload = await sent(storage, LARGE)
    [file] = payloads_in(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"A payload in file:///.* is damaged: v0/.* Restore it from a copy"):
        await received(storage, payload)


async def test_a_folder_that_is_not_mounted_is_no_loss(tmp_path: Path) -> None:
    """What can be mended is told as something to try again: no run may end for it."""
    storage = external_storage(tmp_path / "mount")
    payload = await sent(storage, LARGE)
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    (tmp_path / "mount").mkdir()
    with pytest.raises(StorageError, match="nothing was ever stored in .*is it the right folder, and mounted") as told:
        await received(storage, payload)
    assert not isinstance(told.value, ApplicationError)


async def test_a_payload_in_another_place_is_told_with_that_place(tmp_path: Path) -> None:
    """Two workers of different settings: the payload is not gone, it is elsewhere."""
    payload = await sent(external_storage(tmp_path / "a"), LARGE)
    other = external_storage(tmp_path / "b")
    await sent(other, LARGE + "y")
    with pytest.raises(
        StorageError, match="stored in file:.*/a, .* reads from file:.*/b.* Set STEPGRAPH_STORAGE=file"
    ) as told:
        await received(other, payload)
    assert not isinstance(told.value, ApplicationError)


async def test_a_folder_that_moved_is_read_where_it_is_now(tmp_path: Path) -> None:
    """A reference says where the payload was put; it is looked for where this process has its storage."""
    payload = await sent(external_storage(tmp_path / "a"), LARGE)
    (tmp_path / "a").rename(tmp_path / "b")
    assert await received(external_storage(tmp_path / "b"), payload) == LARGE


async def test_without_storage_the_error_names_the_setting(tmp_path: Path) -> None:
    """And the value that it should have."""
    payload = await sent(external_storage(tmp_path), LARGE)
    assert (await sent(no_storage(), LARGE)).data == f'"{LARGE}"'.encode()
    with pytest.raises(StorageError, match=f"Set STEPGRAPH_STORAGE={tmp_path.as_uri()} for every worker and client"):
        await received(no_storage(), payload)


async def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """With the reason, as the operating system has it."""
    (tmp_path / "file").write_text("no folder")
    storage = external_storage(tmp_path / "file")
    with pytest.raises(StorageError, match=r"bytes could not be stored in file:///.*: File exists.* Mend"):
        await sent(storage, LARGE)


async def test_a_bucket_holds_payloads_under_its_prefix(bucket: str) -> None:
    """Once each, and reads them back."""
    storage = external_storage(bucket)
    payload = await sent(storage, LARGE)
    assert payload == await sent(storage, LARGE)
    [key] = objects()
    assert key.startswith("some/prefix/v0/ns/default/wt/g/wi/t1/ri/r1/d/sha256/")
    assert await received(storage, payload) == LARGE


async def test_an_object_that_was_deleted_is_told(bucket: str) -> None:
    """As a file would be."""
    storage = external_storage(bucket)
    payload = await sent(storage, LARGE)
    boto3.Session().client("s3").delete_object(Bucket=BUCKET, Key=objects()[0])
    with pytest.raises(StorageError, match=r"gone from s3://threads/some/prefix \(STEPGRAPH_STORAGE\): v0/"):
        await received(storage, payload)


async def test_a_bucket_that_is_not_there_is_told(bucket: str) -> None:
    """Before anything is stored, and when something is."""
    storage = external_storage("s3://nowhere")
    [driver] = storage.drivers
    assert isinstance(driver, driver_module.Storage)
    with pytest.raises(Exception, match="there is no bucket 'nowhere'"):
        await driver.place.check()
    with pytest.raises(StorageError, match=r"could not be stored in s3://nowhere .*NoSuchBucket"):
        await sent(storage, LARGE)


async def test_an_endpoint_that_does_not_answer_is_given_some_time(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storing waits for it; what is read is told as something to try again."""
    storage = external_storage(bucket)
    payload = await sent(storage, LARGE)
    monkeypatch.setattr(driver_module, "PAUSES", (0.1,))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    unreachable = external_storage(bucket)
    with pytest.raises(StorageError, match=r"could not be stored in s3://threads/some/prefix .*127.0.0.1:9"):
        await sent(unreachable, LARGE)
    with pytest.raises(StorageError, match=r"cannot be read from s3://threads/some/prefix .*127.0.0.1:9") as told:
        await received(unreachable, payload)
    assert not isinstance(told.value, ApplicationError)
