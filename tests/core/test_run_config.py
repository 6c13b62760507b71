"""Tests of the config that callers pass: what it may contain, and which values are refused."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest

from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.errors import InvalidThreadError, ThreadError
from stepgraph.protocol.config import RunConfig, parse_config, parse_thread_id

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class NotJson:
    """Neither a valid thread id nor JSON."""

    def __repr__(self) -> str:
        return "NotJson()"


NOT_JSON = NotJson()


def short_text(value: object) -> str:
    """Return a short text of the value that is the same in every process."""
    return ascii(value)[:40]


@pytest.mark.parametrize(
    ("value", "thread_id"),
    [
        ("t1", "t1"),
        ("a b/c:é", "a b/c:é"),
        (7, "7"),
        (0, "0"),
        (-1, "-1"),
        (ID, "12345678-1234-5678-1234-567812345678"),
        ("x" * 255, "x" * 255),
        ("é" * 127, "é" * 127),
    ],
)
def test_a_thread_id_is_a_string_an_integer_or_a_uuid(value: Any, thread_id: str) -> None:
    """A valid thread id is converted to a string, which becomes the workflow id."""
    assert parse_thread_id(value) == thread_id
    assert parse_config({"configurable": {"thread_id": value}}) == RunConfig(thread_id)


@pytest.mark.parametrize(
    "value", ["", " ", "\t\n", None, True, False, [], ["t1"], {}, 1.5, b"t1", NOT_JSON], ids=short_text
)
def test_other_values_are_refused_as_a_thread_id(value: Any) -> None:
    """The error about an invalid thread id shows the value and an example of a valid config."""
    message = (
        r"A thread id must be a non-empty string, an integer or a UUID; got .*Pass \{'configurable': \{'thread_id':"
    )
    with pytest.raises(InvalidThreadError, match=message) as caught:
        parse_config({"configurable": {"thread_id": value}})
    assert isinstance(caught.value, ThreadError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", ["x" * 256, "é" * 128, "a\nb", "a\x00b", "\ud800"], ids=short_text)
def test_a_thread_id_that_temporal_cannot_store_is_refused(value: str) -> None:
    """The limit on a thread id's length is in bytes, not in characters."""
    message = r"must be printable, and at most 255 bytes long, .*; got \d+ characters: .*a UUID say\."
    with pytest.raises(InvalidThreadError, match=message):
        parse_thread_id(value)


@pytest.mark.parametrize(
    "config", [None, {}, [], "t1", {"configurable": None}, {"configurable": "t1"}, {"thread_id": "t1"}], ids=short_text
)
def test_a_config_without_a_thread_id_is_refused(config: Any) -> None:
    """The error about a missing thread id shows an example of a valid config."""
    with pytest.raises(InvalidThreadError, match=r"\{'configurable': \{'thread_id': 'some-id'\}\}"):
        parse_config(config)


def config(**more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "t1", **more.pop("configurable", {})}, **more}


def test_a_config_may_have_a_checkpoint_id_and_a_recursion_limit() -> None:
    """LangGraph's configs also have a `checkpoint_ns`, which is ignored."""
    assert parse_config(
        config(configurable={"checkpoint_id": "r.1", "checkpoint_ns": ""}, recursion_limit=5)
    ) == RunConfig("t1", "r.1", 5)
    assert parse_config(config()).recursion_limit == DEFAULT_RECURSION_LIMIT


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", None, True, math.inf], ids=short_text)
def test_a_recursion_limit_is_a_positive_integer(limit: Any) -> None:
    """The error about a recursion limit says what is allowed and shows the value."""
    with pytest.raises(InvalidThreadError, match=r"a whole number of super-steps, at least 1 and at most .*; got"):
        parse_config(config(recursion_limit=limit))


def test_other_keys_of_a_config_are_passed_to_nodes() -> None:
    """Nodes get copies of a config's tags, metadata and `configurable` without the ids."""
    original = config(configurable={"user": {"name": "ada"}}, tags=["a"], metadata={"n": 1}, run_name="x")
    node_config = parse_config(original).node_config
    assert node_config == {"configurable": {"user": {"name": "ada"}}, "tags": ["a"], "metadata": {"n": 1}}
    node_config["configurable"]["user"]["name"] = "bob"
    assert original["configurable"]["user"]["name"] == "ada"
    assert parse_config(config(configurable={}, tags=[], metadata={})).node_config == {}


@pytest.mark.parametrize("value", [NOT_JSON, (1,), {1}, {1: "a"}, b"x", math.nan, ID, "\ud800"], ids=short_text)
@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_a_config_value_that_is_not_json_is_refused(place: str, value: Any) -> None:
    """Configs must be plain JSON, because nodes may run in other processes. The error names the config's key."""
    with pytest.raises(InvalidThreadError, match=f"The config's '{place}' is handed to nodes .* must be plain JSON: "):
        parse_config(config(**{place: {"key": value}}))
