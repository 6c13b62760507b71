"""The base class of the messages that processes exchange."""

from __future__ import annotations

from stepgraph.serde.formats import Format


class Message(Format):
    """A message: immutable, with a version, and without fields that it does not declare."""
