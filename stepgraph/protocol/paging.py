"""Query answers that are too large for one payload, in pages."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

PAGE_SIZE: Final = 1_000_000
"""Bytes of JSON in one page. A server refuses a query result above 2 MiB, and base64 makes a page a third larger."""


def in_pages(answer: Any, page: int) -> Any:
    """Return the answer unchanged if it fits one page, otherwise page ``page`` of it, for `Pages` to reassemble."""
    text = to_json(answer)
    if len(text) <= PAGE_SIZE and not _is_page(answer):  # data that looks like a page must not be read as one
        return answer
    count = -(-len(text) // PAGE_SIZE)
    piece = text[page * PAGE_SIZE : (page + 1) * PAGE_SIZE]
    return {
        "etag": hashlib.sha256(text).hexdigest()[:16],
        "pages": count,
        "piece": base64.b64encode(piece).decode(),
    }


class Pages:
    """Reassembles an answer: query for `next_page`, add the response, and repeat until `next_page` is `None`."""

    def __init__(self) -> None:
        self.next_page: int | None = 0
        """The page to query for; `None` once the answer is complete."""
        self.answer: Any = None
        """The complete answer."""
        self._etag = ""
        self._pieces: list[bytes] = []

    def add_page(self, response: Any) -> None:
        """Add the response to the query for `next_page`. If the answer has changed meanwhile, start at page 0 again."""
        if not _is_page(response):
            self.answer, self.next_page = response, None
            return
        if response["etag"] != self._etag:
            has_changed = bool(self._pieces)
            self._etag, self._pieces = response["etag"], []
            if has_changed:
                self.next_page = 0
                return
        self._pieces.append(base64.b64decode(response["piece"]))
        self.next_page = len(self._pieces)
        if self.next_page == response["pages"]:
            self.answer, self.next_page = from_json(b"".join(self._pieces)), None


def _is_page(response: Any) -> bool:
    return isinstance(response, Mapping) and response.keys() == {"etag", "pages", "piece"}
