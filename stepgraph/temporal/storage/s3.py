"""A bucket of S3, or of a service with the same API, that holds payloads.

boto3 finds credentials, region and endpoint: in ``AWS_*`` variables, in a profile, in a role.

The SDK has a client of its own for the S3 driver, `temporalio.contrib.aws.s3driver.aioboto3`. It is not used here,
because it does not end cleanly when it is cancelled or fails. From 8 MB on it uploads in parts, and such an upload
leaves pending tasks and an incomplete upload in the bucket. A cancelled download does not close its connection. asyncio
and aiohttp report both. The client also needs aioboto3, which pins boto3 to an older version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

from stepgraph.errors import StepgraphError
from stepgraph.temporal.storage.object_store import (
    ObjectNotFoundError,
    ObjectStore,
    ObjectStoreError,
    UnreachableError,
)

T = TypeVar("T")

MAX_CONNECTIONS = 16
CONNECT_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60
TRANSIENT_CODES = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "500", "502", "503", "504")


class Bucket(ObjectStore):
    """Stores objects in a bucket, under keys that begin with a prefix.

    The blocking client of boto3 runs on threads of its own. It belongs to no event loop, so one object serves every
    loop of a process and has nothing to close. A cancelled upload or download ends on its thread.
    """

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self._executor = ThreadPoolExecutor(MAX_CONNECTIONS, thread_name_prefix="stepgraph-s3")
        try:
            import boto3  # noqa: F401 (only checks that it is installed)
        except ImportError as error:
            raise StepgraphError(
                f"STEPGRAPH_STORAGE={self.address} needs boto3. Run: pip install 'stepgraph[s3]'.",
                setting="STEPGRAPH_STORAGE",
            ) from error

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Upload an object with one request."""
        await self._run(lambda: self._client.put_object(Bucket=bucket, Key=self._prefix + key, Body=data))

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Return whether an object exists."""
        try:
            await self._run(lambda: self._client.head_object(Bucket=bucket, Key=self._prefix + key))
        except ObjectNotFoundError:
            return False
        return True

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Download an object. `ObjectNotFoundError` if there is none."""

        def download() -> bytes:
            content: bytes = self._client.get_object(Bucket=bucket, Key=self._prefix + key)["Body"].read()
            return content

        return await self._run(download)

    async def check(self) -> None:
        """Raise `ObjectStoreError` unless the bucket exists and these credentials may use it."""
        try:
            await self._run(lambda: self._client.head_bucket(Bucket=self.bucket))
        except ObjectNotFoundError:
            raise ObjectStoreError(f"there is no bucket {self.bucket!r}") from None

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=READ_TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=MAX_CONNECTIONS,
        )
        return boto3.Session().client("s3", config=config)

    async def _run(self, request: Callable[[], T]) -> T:
        """Make a request on another thread, and translate the errors of boto3."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from botocore.exceptions import ConnectionError as NoConnectionError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, request)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in ("NoSuchKey", "404"):
                raise ObjectNotFoundError(f"there is no object in {self.bucket!r} under that key") from error
            raise (UnreachableError if code in TRANSIENT_CODES else ObjectStoreError)(str(error)) from error
        except (HTTPClientError, NoConnectionError) as error:
            raise UnreachableError(str(error)) from error
        except BotoCoreError as error:  # no credentials, no region, no such profile
            raise ObjectStoreError(str(error)) from error
