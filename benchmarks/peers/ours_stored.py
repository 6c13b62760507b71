"""stepgraph with external storage in a folder, as it is where it brings its own server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from temporalio.client import Client

from benchmarks.peers.ours import Ours
from benchmarks.peers.peer import Stored
from stepgraph.temporal.storage import external_storage


class OursStored(Ours):
    """The same worker and client, whose large payloads are files."""

    async def connect(self) -> Client:
        """A client with storage."""
        client = await super().connect()
        converter = replace(client.data_converter, external_storage=external_storage(self._files))
        return Client(client.service_client, namespace=client.namespace, data_converter=converter)

    async def stored(self, thread: str) -> Stored:
        """Histories and files."""
        files = [path for path in self._files.rglob(f"wi/{thread}/**/*") if path.is_file()]
        return replace(await super().stored(thread), outside=sum(path.stat().st_size for path in files))

    @property
    def _files(self) -> Path:
        return self.folder / "files"


PEER = OursStored
