"""Tests of formats: data that another version of stepgraph wrote is migrated or refused by name, never misread."""

from __future__ import annotations

import importlib
import json
import pkgutil
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

import stepgraph
import stepgraph_activities
import stepgraph_workflows
from stepgraph.engine.checkpoint import TaskResult
from stepgraph.engine.record import Record
from stepgraph.errors import StepgraphError, UnknownFormatError
from stepgraph.protocol.commands import UpdateCommand
from stepgraph.protocol.start_options import ContinuedRun, StartOptions
from stepgraph.protocol.task_request import TaskAnswer
from stepgraph.serde.formats import VERSION_KEY, Data, Format, Migration
from tests.core.test_records import make_record


def subclasses(root: type[Any]) -> list[type[Any]]:
    """Return the classes of stepgraph that are derived from one, by name, after all modules are imported."""
    for package in (stepgraph, stepgraph_activities, stepgraph_workflows):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, queue = set[type[Any]](), [root]
    while queue:
        children = queue.pop().__subclasses__()
        found.update(children)
        queue += children
    return sorted((cls for cls in found if cls.__module__.startswith("stepgraph")), key=lambda cls: cls.__name__)


FORMATS: list[type[Format]] = subclasses(Format)
DATA: list[type[Data]] = subclasses(Data)


def test_every_format_is_found() -> None:
    """Each has a name of its own, because an error message names it."""
    names = [cls.__name__ for cls in FORMATS]
    assert {"GraphSpec", "Record", "TaskRequest", "TaskAnswer", "StartOptions", "Opening", "PendingWrites"} <= set(
        names
    )
    assert len(names) == len(set(names))
    assert {cls for cls in DATA if issubclass(cls, Format)} == {Format, *FORMATS}


@pytest.mark.parametrize("cls", FORMATS, ids=lambda cls: cls.__name__)
def test_every_format_refuses_a_version_that_it_does_not_know(cls: type[Format]) -> None:
    """The error names the format and the version, whatever the fields are: nothing says what they mean."""
    for version in (cls.VERSION + 1, 99, -1, "1", None, True, 1.5):
        data = {VERSION_KEY: version, "added_later": 1}
        with pytest.raises(UnknownFormatError) as caught:
            cls.model_validate(data)
        assert (caught.value.format, caught.value.version) == (cls.__name__, version)
        assert caught.value.message == (
            f"This is a {cls.__name__} of version {version!r}; this version of stepgraph reads version {cls.VERSION}. "
            "Another version of stepgraph wrote it: use that version, or a later one."
        )
        with pytest.raises(UnknownFormatError, match=rf"This is a {cls.__name__} of version"):
            cls.model_validate_json(json.dumps(data))


@pytest.mark.parametrize("cls", DATA, ids=lambda cls: cls.__name__)
def test_all_data_refuse_a_field_that_they_do_not_declare(cls: type[Data]) -> None:
    """A misspelt field in a command by hand, or one of a later version, is an error, not silence."""
    with pytest.raises(ValidationError) as caught:
        cls.model_validate({"added_later": 1})
    assert ("added_later",) in [error["loc"] for error in caught.value.errors() if error["type"] == "extra_forbidden"]


@pytest.mark.parametrize("cls", DATA, ids=lambda cls: cls.__name__)
def test_all_data_are_immutable_and_forbid_fields_of_their_own_accord(cls: type[Data]) -> None:
    """No class weakens what its base class says."""
    assert cls.model_config.get("frozen") is True
    assert cls.model_config.get("extra") == "forbid"
    assert VERSION_KEY not in cls.model_fields


@pytest.mark.parametrize("cls", FORMATS, ids=lambda cls: cls.__name__)
def test_every_migration_leads_to_the_current_version(cls: type[Format]) -> None:
    """There is no gap between the oldest version that is migrated and the current one."""
    assert sorted(cls.MIGRATIONS) == list(range(cls.VERSION - len(cls.MIGRATIONS), cls.VERSION))


def test_data_carry_their_version_also_as_part_of_other_data() -> None:
    """Each format has a version of its own. A field at its default is left out, the version never is."""
    options = StartOptions(continued=ContinuedRun(record=make_record()), update=UpdateCommand())
    data = options.to_json()
    assert data.keys() == {"v", "continued", "update"}
    assert (data["v"], data["continued"]["v"], data["continued"]["record"]["v"], data["update"]) == (1, 1, 1, {"v": 1})
    assert "v" not in data["continued"]["record"]["checkpoint"]
    assert json.loads(options.to_json_text()) == data
    assert StartOptions.model_validate(data) == StartOptions.model_validate_json(options.to_json_text()) == options
    assert StartOptions.model_validate(options.model_dump(mode="json")) == options


def test_data_without_a_version_are_of_the_current_one() -> None:
    """A human may have written them."""
    data = make_record().to_json()
    del data["v"]
    assert Record.model_validate(data) == make_record()


def test_an_unknown_version_inside_other_data_is_named() -> None:
    """The error is about the part, not about the whole; no validation error hides it."""
    data = StartOptions(continued=ContinuedRun(record=make_record())).to_json()
    data["continued"]["record"]["v"] = 2
    with pytest.raises(UnknownFormatError, match="This is a Record of version 2"):
        StartOptions.model_validate(data)


def test_an_answer_has_a_version_and_its_result_has_none() -> None:
    """`TaskAnswer` is a `TaskResult` that crosses processes; the results in a record have the record's version."""
    result = TaskResult(writes=({"x": 1},), goto=("b",))
    answer = TaskAnswer(**dict(result))
    assert answer.to_json() == {"v": 1, **result.to_json()}
    assert TaskAnswer.model_validate(answer.to_json()) == answer
    assert "v" not in result.to_json()


def split_name(fields: dict[str, Any]) -> dict[str, Any]:
    """Migrates a `Letter` of version 0: it had the whole name in one field."""
    first, _, last = fields.pop("name").partition(" ")
    return {**fields, "first": first, "last": last}


def count_pages(fields: dict[str, Any]) -> dict[str, Any]:
    """Migrates a `Letter` of version 1: it had the pages themselves, and its reader counted them."""
    return {**{name: value for name, value in fields.items() if name != "pages"}, "count": len(fields["pages"])}


class Letter(Format):
    """A format in its third version. This is how a migration is written: one function for each step."""

    VERSION: ClassVar[int] = 2
    MIGRATIONS: ClassVar[dict[int, Migration]] = {0: split_name, 1: count_pages}

    first: str
    last: str
    count: int = 0


class Envelope(Format):
    """Another format, in its first version after the one that had no stamps."""

    VERSION: ClassVar[int] = 1
    MIGRATIONS: ClassVar[dict[int, Migration]] = {0: lambda fields: {**fields, "stamps": 1}}

    letters: tuple[Letter, ...]
    stamps: int


ADA = Letter(first="Ada", last="Lovelace", count=2)
OLD_LETTERS: list[dict[str, Any]] = [
    {"v": 0, "name": "Ada Lovelace", "pages": ["a", "b"]},
    {"v": 1, "first": "Ada", "last": "Lovelace", "pages": ["a", "b"]},
    {"v": 2, "first": "Ada", "last": "Lovelace", "count": 2},
    {"first": "Ada", "last": "Lovelace", "count": 2},
]


@pytest.mark.parametrize("data", OLD_LETTERS, ids=lambda data: f"version {data.get('v')}")
def test_an_older_version_is_migrated_one_version_at_a_time(data: dict[str, Any]) -> None:
    """From 0 to 1 and from 1 to 2. What was read stays as it is, and is written in the current version."""
    before = json.dumps(data)
    assert Letter.model_validate(data) == Letter.model_validate_json(before) == ADA
    assert json.dumps(data) == before
    assert Letter.model_validate(data).to_json() == {"v": 2, "first": "Ada", "last": "Lovelace", "count": 2}


@pytest.mark.parametrize("letter", OLD_LETTERS, ids=lambda data: f"version {data.get('v')}")
def test_each_part_is_migrated_from_its_own_version(letter: dict[str, Any]) -> None:
    """An envelope of version 0 may hold letters of any version."""
    envelope = Envelope.model_validate({"v": 0, "letters": [letter, OLD_LETTERS[0]]})
    assert envelope == Envelope(letters=(ADA, ADA), stamps=1)
    assert [part["v"] for part in (envelope.to_json(), *envelope.to_json()["letters"])] == [1, 2, 2]


def test_a_migrated_version_is_validated_like_the_current_one() -> None:
    """A field that the old version did not have is an error, and so is one that lacks after the migration."""
    with pytest.raises(ValidationError, match=r"added_later\n.*Extra inputs"):
        Letter.model_validate({**OLD_LETTERS[1], "added_later": 1})
    with pytest.raises(ValidationError, match=r"last\n.*Field required"):
        Letter.model_validate({"v": 1, "first": "Ada", "pages": []})


@pytest.mark.parametrize("version", [3, -1, "0", None, 0.5])
def test_a_version_before_the_first_or_after_the_last_is_refused(version: Any) -> None:
    """There is no way from there, so nothing is guessed."""
    with pytest.raises(UnknownFormatError, match=f"This is a Letter of version {version!r}; .* reads version 2"):
        Letter.model_validate({**OLD_LETTERS[0], "v": version})


@pytest.mark.parametrize("version", [[], {}, True, 1.0], ids=repr)
def test_a_version_that_is_no_integer_is_refused(version: Any) -> None:
    """Whatever JSON data it is."""
    with pytest.raises(UnknownFormatError, match="This is a Letter of version"):
        Letter.model_validate({**OLD_LETTERS[1], "v": version})


def test_the_error_is_no_validation_error() -> None:
    """Code that catches pydantic's errors, to say that data are not what they should be, must name it apart."""
    assert issubclass(UnknownFormatError, StepgraphError)
    assert not issubclass(UnknownFormatError, ValueError)
