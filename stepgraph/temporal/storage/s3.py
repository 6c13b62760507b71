"""A bucket of S3, or of anything that speaks like it, for payloads.

Credentials, region and endpoint are boto3's to find: ``AWS_*`` variables, a profile, a role.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

from stepgraph.errors import StepgraphError
from stepgraph.temporal.storage.place import AbsentError, Place, PlaceError, UnreachableError

T = TypeVar("T")

CONNECTIONS = 16
TIMEOUT_SECONDS = 10
PASSING = ("InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "500", "502", "503", "504")


class Bucket(Place):
    """A bucket; the keys under it begin with a prefix. boto3's clients are for threads, and any event loop's."""

    def __init__(self, bucket: str, prefix: str = "") -> None:
        self.bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.address = f"s3://{bucket}/{prefix}".rstrip("/")
        self._executor = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="stepgraph-s3")
        try:
            import boto3  # noqa: F401 (is it there?)
        except ImportError as error:
            raise StepgraphError(
                f"STEPGRAPH_STORAGE={self.address} needs boto3. Run: pip install 'stepgraph[s3]'.",
                setting="STEPGRAPH_STORAGE",
            ) from error

    async def put_object(self, *, bucket: str, key: str, data: bytes) -> None:
        """Uploads an object."""
        await self._do(lambda: self._client.put_object(Bucket=bucket, Key=self._prefix + key, Body=data))

    async def object_exists(self, *, bucket: str, key: str) -> bool:
        """Whether the object is there."""
        try:
            await self._do(lambda: self._client.head_object(Bucket=bucket, Key=self._prefix + key))
        except AbsentError:
            return False
        return True

    async def get_object(self, *, bucket: str, key: str) -> bytes:
        """Downloads an object; `AbsentError` if there is none."""

        def got() -> bytes:
            content: bytes = self._client.get_object(Bucket=bucket, Key=self._prefix + key)["Body"].read()
            return content

        return await self._do(got)

    async def check(self) -> None:
        """Asks whether the bucket is there, and is ours to use."""
        try:
            await self._do(lambda: self._client.head_bucket(Bucket=self.bucket))
        except AbsentError:
            raise PlaceError(f"there is no bucket {self.bucket!r}") from None

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        options = Config(
            connect_timeout=TIMEOUT_SECONDS,
            read_timeout=6 * TIMEOUT_SECONDS,
            retries={"mode": "standard", "total_max_attempts": 3},
            max_pool_connections=CONNECTIONS,
        )
        return boto3.Session().client("s3", config=options)

    async def _do(self, work: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from botocore.exceptions import ConnectionError as NoConnectionError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
            if code in ("NoSuchKey", "404"):
                raise AbsentError(f"there is no object in {self.bucket!r} under that key") from error
            raise (UnreachableError if code in PASSING else PlaceError)(str(error)) from error
        except (HTTPClientError, NoConnectionError) as error:
            raise UnreachableError(str(error)) from error
        except BotoCoreError as error:  # no credentials, no region, no such profile
            raise PlaceError(str(error)) from error
