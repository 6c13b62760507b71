"""The base classes of data that is stored or sent: no unknown field in any, and a version in every format.

A worker may meet data that another version of stepgraph wrote: in the history of a run, in the record of a thread, in
the arguments of an activity. It reads the version first. An older format is migrated, one version at a time. A newer
one is refused by name, because nothing says what its fields mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer, model_validator

from stepgraph.errors import UnknownFormatError

VERSION_KEY: Final = "v"
"""The key of the version in a format's JSON data."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a format's JSON data of one version, without the version, and returns that of the next version."""


class Data(BaseModel):
    """Immutable JSON data. A field that it does not declare is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """Return the data as JSON data, without the fields that have their default."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def to_json_text(self) -> bytes:
        """Return the data as JSON text, without the fields that have their default."""
        return self.model_dump_json(exclude_defaults=True).encode()


class Format(Data):
    """Data with a version of its own, also where it is part of other data.

    Data without a version is taken for data of the current one: a human may have written it.

    Raises:
        UnknownFormatError: the data is of a version that this code neither reads nor migrates.
    """

    VERSION: ClassVar[int] = 1
    MIGRATIONS: ClassVar[Mapping[int, Migration]] = {}
    """By the version that a migration starts from."""

    @model_serializer(mode="wrap")
    def _with_version(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {VERSION_KEY: self.VERSION, **serialize(self)}

    @model_validator(mode="before")
    @classmethod
    def _of_current_version(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or VERSION_KEY not in data:
            return data
        fields = dict(data)
        version = fields.pop(VERSION_KEY)
        if type(version) is not int:
            raise cls._unknown(version)
        while version != cls.VERSION:
            if version not in cls.MIGRATIONS:
                raise cls._unknown(version)
            try:
                fields = cls.MIGRATIONS[version](fields)
            except Exception as error:  # the data is not what that version wrote
                raise cls._unknown(version) from error
            version += 1
        return fields

    @classmethod
    def _unknown(cls, version: Any) -> UnknownFormatError:
        return UnknownFormatError(
            f"This is a {cls.__name__} of version {version!r}; this version of stepgraph reads version {cls.VERSION}. "
            "Another version of stepgraph wrote it: use that version, or a later one.",
            format=cls.__name__,
            version=version,
        )
