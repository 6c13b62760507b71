"""External storage without a Temporal server: addresses, folders, buckets, and the errors of each."""

from __future__ import annotations

import asyncio
import sys
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
from stepgraph.temporal.storage import (
    NoStorageDriver,
    ObjectStoreDriver,
    driver,
    external_storage,
    no_storage,
    storage_from_settings,
)
from tests.patience import eventually
from tests.storing import BUCKET, object_keys, payloads_in, s3_bucket

LARGE = "x" * 1_100_000


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPGRAPH_STORAGE", raising=False)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an existing bucket, on a local S3 server."""
    with s3_bucket(monkeypatch) as address:
        yield address


def driver_of(storage: ExternalStorage) -> ObjectStoreDriver:
    """Return the only driver of an external storage."""
    [only] = storage.drivers
    assert isinstance(only, ObjectStoreDriver)
    return only


def converter(storage: ExternalStorage, thread_id: str = "t1") -> DataConverter:
    """Return a data converter with the context that the SDK gives it for a thread's run."""
    target = StorageDriverWorkflowInfo(namespace="default", id=thread_id, type="g", run_id="r1")
    without_context = DataConverter(external_storage=storage)
    return without_context._with_store_context(StorageDriverStoreContext(target=target))


async def encoded(storage: ExternalStorage, value: object, thread_id: str = "t1") -> Payload:
    """Return the payload that goes to Temporal: a reference, if external storage has taken the value."""
    [payload] = await converter(storage, thread_id).encode([to_raw(value)])
    return payload


async def decoded(storage: ExternalStorage, payload: Payload) -> object:
    """Return the value of a payload from Temporal."""
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
    """The store's address, which errors and references have, is a URL without a slash at its end."""
    assert driver_of(external_storage(given)).object_store.address == address


@pytest.mark.parametrize("given", ["s3://", "s3:///prefix", "http://host/x", "file://host/x", "gs://bucket", " "])
def test_an_address_of_another_form_is_refused(given: str) -> None:
    """The error names the setting and the forms that it takes."""
    with pytest.raises(StepgraphError, match="STEPGRAPH_STORAGE is s3://bucket/prefix, file:///folder, .* or none"):
        external_storage(given)


def test_the_setting_overrides_the_embedded_servers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value ``none`` switches external storage off."""
    assert driver_of(storage_from_settings(embedded_at=tmp_path)).object_store.address == tmp_path.as_uri()
    assert isinstance(storage_from_settings().drivers[0], NoStorageDriver)
    monkeypatch.setenv("STEPGRAPH_STORAGE", "none")
    assert isinstance(storage_from_settings(embedded_at=tmp_path).drivers[0], NoStorageDriver)
    monkeypatch.setenv("STEPGRAPH_STORAGE", "s3://bucket")
    assert driver_of(storage_from_settings(embedded_at=tmp_path)).object_store.address == "s3://bucket"


async def test_a_payload_is_stored_once_under_its_run(tmp_path: Path) -> None:
    """Temporal gets a reference. Equal payloads of a run share a file, and a small payload is not stored."""
    storage = external_storage(tmp_path)
    first, second, small = [await encoded(storage, value) for value in (LARGE, LARGE, "small")]
    assert first == second
    assert first.ByteSize() < 1_000
    assert small.data == b'"small"'
    [file] = payloads_in(tmp_path)
    assert file.parent.relative_to(tmp_path).as_posix() == "v0/ns/default/wt/g/wi/t1/ri/r1/d/sha256"
    assert await decoded(storage, first) == LARGE


@pytest.mark.parametrize("thread_id", ["..", ".", "../../../etc", "a/b", "x" * 1000, "ü" * 300, "con:1|*?"])
async def test_any_thread_id_makes_a_valid_file_name(tmp_path: Path, thread_id: str) -> None:
    """No thread id makes a path outside the folder, or a file name that is too long."""
    root = tmp_path / "a" / "b" / "c" / "d" / "e" / "f" / "root"
    storage = external_storage(root)
    payload = await encoded(storage, LARGE, thread_id)
    assert await decoded(storage, payload) == LARGE
    assert payloads_in(tmp_path) == payloads_in(root)
    [file] = payloads_in(root)
    assert len(file.relative_to(root).parts) in (6, 12)


async def test_concurrent_writers_of_one_payload_do_not_disturb_each_other(tmp_path: Path) -> None:
    """The file is complete, and no temporary file is left."""
    storages = [external_storage(tmp_path) for _ in range(8)]
    payloads = await asyncio.gather(*(encoded(storage, LARGE) for storage in storages))
    assert await decoded(storages[0], payloads[7]) == LARGE
    assert [path.name for path in tmp_path.rglob(".*")] == [".stepgraph-storage"]


async def test_reading_a_deleted_payload_names_key_and_setting(tmp_path: Path) -> None:
    """An activity fails for good with the error, because no other attempt would find the payload."""
    storage = external_storage(tmp_path)
    payload = await encoded(storage, LARGE)
    payloads_in(tmp_path)[0].unlink()
    with pytest.raises(
        StorageError, match=r"gone from file:///.*STEPGRAPH_STORAGE.*v0/ns/default/wt/g/wi/t1/"
    ) as raised:
        await decoded(storage, payload)
    assert not isinstance(raised.value, ApplicationError)

    async def read() -> None:
        await decoded(storage, payload)

    with pytest.raises(StorageError, match="gone from file:///") as raised:
        await ActivityEnvironment().run(read)
    assert isinstance(raised.value, ApplicationError)
    assert raised.value.non_retryable
    assert raised.value.to_wire()["type"] == "StorageError"


async def test_reading_a_changed_payload_reports_damage(tmp_path: Path) -> None:
    """The driver compares the content's hash with the reference."""
    storage = external_storage(tmp_path)
    payload = await encoded(storage, LARGE)
    [file] = payloads_in(tmp_path)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StorageError, match=r"A payload in file:///.* is damaged: v0/.* Restore it from a copy"):
        await decoded(storage, payload)


async def test_a_folder_that_is_not_mounted_is_no_lost_payload(tmp_path: Path) -> None:
    """A person can mount the folder, so the error lets the server try again instead of ending the run."""
    storage = external_storage(tmp_path / "mount")
    payload = await encoded(storage, LARGE)
    (tmp_path / "mount").rename(tmp_path / "unmounted")
    (tmp_path / "mount").mkdir()
    with pytest.raises(
        StorageError, match="nothing was ever stored in .*is it the right folder, and mounted"
    ) as raised:
        await decoded(storage, payload)
    assert not isinstance(raised.value, ApplicationError)


async def test_a_payload_in_another_folder_is_reported_with_that_folder(tmp_path: Path) -> None:
    """If two workers have different settings, a payload of the other worker is not reported as lost."""
    payload = await encoded(external_storage(tmp_path / "a"), LARGE)
    other = external_storage(tmp_path / "b")
    await encoded(other, LARGE + "y")
    with pytest.raises(
        StorageError, match="stored in file:.*/a, .* reads from file:.*/b.* Set STEPGRAPH_STORAGE=file"
    ) as raised:
        await decoded(other, payload)
    assert not isinstance(raised.value, ApplicationError)


async def test_a_moved_folder_is_read_at_its_new_path(tmp_path: Path) -> None:
    """A reference names the old path, and the payload is read from the storage of this process all the same."""
    payload = await encoded(external_storage(tmp_path / "a"), LARGE)
    (tmp_path / "a").rename(tmp_path / "b")
    assert await decoded(external_storage(tmp_path / "b"), payload) == LARGE


async def test_without_storage_the_error_names_the_setting(tmp_path: Path) -> None:
    """A process without storage sends every payload to Temporal. Reading a reference fails with the missing setting."""
    payload = await encoded(external_storage(tmp_path), LARGE)
    assert (await encoded(no_storage(), LARGE)).data == f'"{LARGE}"'.encode()
    with pytest.raises(StorageError, match=f"Set STEPGRAPH_STORAGE={tmp_path.as_uri()} for every worker and client"):
        await decoded(no_storage(), payload)


async def test_a_folder_that_cannot_be_written_is_reported_with_the_reason(tmp_path: Path) -> None:
    """The reason is the text of the operating system."""
    (tmp_path / "file").write_text("no folder")
    storage = external_storage(tmp_path / "file")
    with pytest.raises(StorageError, match=r"bytes could not be stored in file:///.*: File exists.* Fix"):
        await encoded(storage, LARGE)


async def test_a_bucket_holds_payloads_under_its_prefix(bucket: str) -> None:
    """Equal payloads of a run share one object, which can be read again."""
    storage = external_storage(bucket)
    payload = await encoded(storage, LARGE)
    assert payload == await encoded(storage, LARGE)
    [key] = object_keys()
    assert key.startswith("some/prefix/v0/ns/default/wt/g/wi/t1/ri/r1/d/sha256/")
    assert await decoded(storage, payload) == LARGE


async def test_reading_a_deleted_object_names_key_and_setting(bucket: str) -> None:
    """The error is the one of a deleted file, with the bucket's address."""
    storage = external_storage(bucket)
    payload = await encoded(storage, LARGE)
    boto3.Session().client("s3").delete_object(Bucket=BUCKET, Key=object_keys()[0])
    with pytest.raises(StorageError, match=r"gone from s3://threads/some/prefix \(STEPGRAPH_STORAGE\): v0/"):
        await decoded(storage, payload)


async def test_a_missing_bucket_is_reported(bucket: str) -> None:
    """Both the check of the storage and an attempt to store name the bucket."""
    storage = external_storage("s3://nowhere")
    with pytest.raises(Exception, match="there is no bucket 'nowhere'"):
        await driver_of(storage).object_store.check()
    with pytest.raises(StorageError, match=r"could not be stored in s3://nowhere .*NoSuchBucket"):
        await encoded(storage, LARGE)


async def test_an_unreachable_endpoint_is_tried_for_some_time(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After that, storing and reading fail with an error that lets the server try again."""
    storage = external_storage(bucket)
    payload = await encoded(storage, LARGE)
    monkeypatch.setattr(driver, "RETRY_DELAYS_SECONDS", (0.1,))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    unreachable = external_storage(bucket)
    with pytest.raises(StorageError, match=r"could not be stored in s3://threads/some/prefix .*127.0.0.1:9"):
        await encoded(unreachable, LARGE)
    with pytest.raises(StorageError, match=r"cannot be read from s3://threads/some/prefix .*127.0.0.1:9") as raised:
        await decoded(unreachable, payload)
    assert not isinstance(raised.value, ApplicationError)


async def test_one_bucket_serves_several_event_loops(bucket: str) -> None:
    """A process may use one storage in the session's event loop and in the user's, also at the same time."""
    storage = external_storage(bucket)
    payload = await encoded(storage, LARGE)
    values = await asyncio.gather(
        decoded(storage, payload), *(asyncio.to_thread(asyncio.run, decoded(storage, payload)) for _ in range(2))
    )
    assert values == [LARGE] * 3


async def test_a_cancelled_upload_leaves_nothing_unfinished(bucket: str) -> None:
    """The upload of 20 MB ends on its thread. No task and no incomplete multipart upload remain."""
    store = driver_of(external_storage(bucket)).object_store
    assert not await store.object_exists(bucket=BUCKET, key="large")
    tasks = asyncio.all_tasks()
    upload = asyncio.ensure_future(store.put_object(bucket=BUCKET, key="large", data=bytes(20_000_000)))
    await asyncio.sleep(0.02)
    upload.cancel()
    await asyncio.wait([upload])
    await eventually(lambda: object_keys() == ["some/prefix/large"])
    assert asyncio.all_tasks() <= tasks
    assert "Uploads" not in boto3.Session().client("s3").list_multipart_uploads(Bucket=BUCKET)


async def test_a_cancelled_download_leaves_no_task(bucket: str) -> None:
    """The connection goes back to the pool: the next download works. Any warning would fail the test."""
    store = driver_of(external_storage(bucket)).object_store
    await store.put_object(bucket=BUCKET, key="large", data=bytes(20_000_000))
    tasks = asyncio.all_tasks()
    download = asyncio.ensure_future(store.get_object(bucket=BUCKET, key="large"))
    await asyncio.sleep(0.02)
    download.cancel()
    await asyncio.wait([download])
    assert asyncio.all_tasks() <= tasks
    assert len(await store.get_object(bucket=BUCKET, key="large")) == 20_000_000


def test_a_bucket_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without boto3, the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(
        StepgraphError, match=r"STEPGRAPH_STORAGE=s3://bucket needs boto3. Run: pip install 'stepgraph\[s3\]'"
    ):
        external_storage("s3://bucket")
