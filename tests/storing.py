"""What tests of external storage share: folders and buckets for payloads, and clients that use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
import pytest
from moto.server import ThreadedMotoServer
from temporalio.client import Client

from stepgraph.temporal.storage import external_storage

BUCKET = "threads"


def client_with_storage(client: Client, address: str | Path) -> Client:
    """Return a client of the same server that has external storage."""
    converter = replace(client.data_converter, external_storage=external_storage(address))
    return Client(client.service_client, namespace=client.namespace, data_converter=converter)


def payloads_in(folder: Path) -> list[Path]:
    """Return the files that hold payloads, oldest first."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


@contextmanager
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a local S3 server with an empty bucket, configure boto3 for it, and yield the address for payloads."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
    for name, value in {**settings, "ENDPOINT_URL": f"http://{host}:{port}"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    try:
        # All servers of a process share moto's state.
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        boto3.Session().client("s3").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/some/prefix"
    finally:
        server.stop()


def object_keys() -> list[str]:
    """Return the keys of all objects in the bucket."""
    response = boto3.Session().client("s3").list_objects_v2(Bucket=BUCKET)
    return [each["Key"] for each in response.get("Contents", ())]
