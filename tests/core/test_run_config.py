"""LangGraph's config: what it may say, and what it is refused for."""

from __future__ import annotations

import math
import uuid
from typing import Any

import pytest

from stepgraph.engine.thread_view import DEFAULT_RECURSION_LIMIT
from stepgraph.errors import InvalidThreadError, ThreadError
from stepgraph.protocol.config import RunConfig, parse_config, parse_thread_id

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


class NoData:
    """Neither an id nor JSON."""

    def __repr__(self) -> str:
        return "NoData()"


NO_DATA = NoData()


def shown(value: object) -> str:
    """The same text in every process, and a short one."""
    return ascii(value)[:40]


@pytest.mark.parametrize(
    ("given", "thread_id"),
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
def test_a_thread_id_is_a_string_an_integer_or_a_uuid(given: Any, thread_id: str) -> None:
    """It becomes the workflow id."""
    assert parse_thread_id(given) == thread_id
    assert parse_config({"configurable": {"thread_id": given}}) == RunConfig(thread_id)


@pytest.mark.parametrize("given", ["", " ", "\t\n", None, True, False, [], ["t1"], {}, 1.5, b"t1", NO_DATA], ids=shown)
def test_anything_else_is_no_thread_id(given: Any) -> None:
    """The message shows what was given, and a config that would do."""
    told = r"A thread id must be a non-empty string, an integer or a UUID; got .*Pass \{'configurable': \{'thread_id':"
    with pytest.raises(InvalidThreadError, match=told) as caught:
        parse_config({"configurable": {"thread_id": given}})
    assert isinstance(caught.value, ThreadError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("given", ["x" * 256, "é" * 128, "a\nb", "a\x00b", "\ud800"], ids=shown)
def test_a_thread_id_that_temporal_cannot_keep_is_refused(given: str) -> None:
    """Servers count bytes, not characters."""
    told = r"must be printable, and at most 255 bytes long, .*; got \d+ characters: .*a UUID say\."
    with pytest.raises(InvalidThreadError, match=told):
        parse_thread_id(given)


@pytest.mark.parametrize(
    "config", [None, {}, [], "t1", {"configurable": None}, {"configurable": "t1"}, {"thread_id": "t1"}], ids=shown
)
def test_a_config_without_a_thread_is_refused(config: Any) -> None:
    """With the shape of one that has."""
    with pytest.raises(InvalidThreadError, match=r"\{'configurable': \{'thread_id': 'some-id'\}\}"):
        parse_config(config)


def config(**more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": "t1", **more.pop("configurable", {})}, **more}


def test_a_config_names_a_checkpoint_and_a_limit() -> None:
    """Both may be left out; `checkpoint_ns`, which LangGraph's configs carry, says nothing here."""
    assert parse_config(
        config(configurable={"checkpoint_id": "r.1", "checkpoint_ns": ""}, recursion_limit=5)
    ) == RunConfig("t1", "r.1", 5)
    assert parse_config(config()).recursion_limit == DEFAULT_RECURSION_LIMIT


@pytest.mark.parametrize("limit", [0, -1, 1.5, "5", None, True, math.inf], ids=shown)
def test_a_limit_is_a_whole_number_from_one(limit: Any) -> None:
    """The message says so, and shows what was given."""
    with pytest.raises(
        InvalidThreadError, match=r"'recursion_limit' must be a whole number of super-steps, at least 1; got"
    ):
        parse_config(config(recursion_limit=limit))


def test_the_rest_is_handed_to_nodes() -> None:
    """`configurable` beyond the ids, tags and metadata; a copy of each."""
    given = config(configurable={"user": {"name": "ada"}}, tags=["a"], metadata={"n": 1}, callbacks=[object()])
    found = parse_config(given).passed_on
    assert found == {"configurable": {"user": {"name": "ada"}}, "tags": ["a"], "metadata": {"n": 1}}
    found["configurable"]["user"]["name"] = "bob"
    assert given["configurable"]["user"]["name"] == "ada"
    assert parse_config(config(configurable={}, tags=[], metadata={})).passed_on == {}


@pytest.mark.parametrize("value", [NO_DATA, (1,), {1}, {1: "a"}, b"x", math.nan, ID, "\ud800"], ids=shown)
@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_what_is_no_json_is_refused(place: str, value: Any) -> None:
    """Nodes may run in other processes; the message names the place."""
    with pytest.raises(InvalidThreadError, match=f"The config's '{place}' is handed to nodes .* must be plain JSON: "):
        parse_config(config(**{place: {"key": value}}))
