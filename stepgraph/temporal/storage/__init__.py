"""Where payloads go that are too large for Temporal: a folder or an S3 bucket, by the SDK's `ExternalStorage`.

What Temporal keeps then is a reference of some hundred bytes. The driver is the SDK's own for S3, which names an object
by its content, under the run that it belongs to, and checks it when it is read; a folder is one more bucket to it. What
this package adds is where that is (`STEPGRAPH_STORAGE`) and errors that say what to do.

Every process of a deployment, worker or client, needs the same storage. For a client of one's own::

    storage = external_storage("s3://bucket/prefix")
    client = await Client.connect("localhost:7233", data_converter=DataConverter(external_storage=storage))
"""

from stepgraph.temporal.storage.driver import NoStorage, Storage, uses_storage
from stepgraph.temporal.storage.setup import (
    check,
    external_storage,
    no_storage,
    read_only_storage,
    storage_from_settings,
    with_storage_errors,
)

__all__ = [
    "NoStorage",
    "Storage",
    "check",
    "external_storage",
    "no_storage",
    "read_only_storage",
    "storage_from_settings",
    "uses_storage",
    "with_storage_errors",
]
