"""External storage: payloads that are too large for Temporal's history go to a folder or an S3 bucket.

Temporal then keeps a reference of some hundred bytes. The SDK's `ExternalStorage` decides which payloads are stored and
follows the references; its S3 driver names an object by its content, under the run that it belongs to, and checks the
hash when it reads. This package owns the folder and the bucket that the driver works with, the setting
`STEPGRAPH_STORAGE`, and errors that name the fix. It knows nothing of threads or graphs.

Only the names below are for other packages. All processes of a deployment, workers and clients, need the same storage.
To give it to a Temporal client::

    storage = external_storage("s3://bucket/prefix")
    client = await Client.connect("localhost:7233", data_converter=DataConverter(external_storage=storage))
"""

from stepgraph.temporal.storage.configuration import (
    check_storage,
    external_storage,
    no_storage,
    read_only_converter,
    read_only_storage,
    storage_from_settings,
    with_missing_storage_errors,
)
from stepgraph.temporal.storage.driver import NoStorageDriver, ObjectStoreDriver, uses_storage

__all__ = [
    "NoStorageDriver",
    "ObjectStoreDriver",
    "check_storage",
    "external_storage",
    "no_storage",
    "read_only_converter",
    "read_only_storage",
    "storage_from_settings",
    "uses_storage",
    "with_missing_storage_errors",
]
