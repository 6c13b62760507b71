"""stepgraph with external storage in a folder, which the embedded server sets up by default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from temporalio.client import Client

from benchmarks.peers.ours import Ours
from benchmarks.peers.peer import StorageUse
from stepgraph.temporal.storage import external_storage


class OursExternalStorage(Ours):
    """The worker and client of `Ours`, with large payloads in files."""

    async def connect(self) -> Client:
        """Returns a client with external storage."""
        client = await super().connect()
        converter = replace(client.data_converter, external_storage=external_storage(self._storage_folder))
        return Client(client.service_client, namespace=client.namespace, data_converter=converter)

    async def storage_use(self, thread: str) -> StorageUse:
        """Returns the size of the thread's histories and files."""
        # In the paths of the SDK's S3 driver the folder `wi` has a folder for each workflow id.
        files = [path for path in self._storage_folder.rglob(f"wi/{thread}/**/*") if path.is_file()]
        return replace(await super().storage_use(thread), external_bytes=sum(path.stat().st_size for path in files))

    @property
    def _storage_folder(self) -> Path:
        return self.folder / "files"


PEER = OursExternalStorage
