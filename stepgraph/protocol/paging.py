"""Query answers that are too large for one payload, in pages.

The first page names the answer by its ``etag``, a hash of its text. A reader asks for the other pages with that etag,
so a process that keeps the answer (`stepgraph.temporal.answer_cache`) neither makes it again for each page, nor lets a
thread that moves on change it in between.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from stepgraph.errors import ServerError

PAGE_SIZE: Final = 1_000_000
"""Bytes of JSON in one page. A server refuses a query result above 2 MiB, and base64 makes a page a third larger."""

MAX_RESTARTS: Final = 20
"""How often a reader begins again because the answer has changed. It does only where no process has kept it."""


class PagedAnswer:
    """An answer as JSON text, which is encoded and hashed once."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.etag = hashlib.sha256(text).hexdigest()[:32]

    def page(self, number: int) -> dict[str, Any]:
        """Return a page of the answer, for `Pages` to reassemble."""
        piece = self.text[number * PAGE_SIZE : (number + 1) * PAGE_SIZE]
        return {
            "etag": self.etag,
            "pages": -(-len(self.text) // PAGE_SIZE),
            "piece": base64.b64encode(piece).decode(),
        }


def needs_pages(answer: Any, text: bytes) -> bool:
    """Return whether an answer with this JSON text has to come in pages."""
    return len(text) > PAGE_SIZE or _is_page(answer)  # data that looks like a page must not be read as one


class Pages:
    """Reassembles an answer: query with `next_request`, add the response, and repeat until that is `None`."""

    def __init__(self) -> None:
        self.next_request: dict[str, Any] | None = {"page": 0}
        """The fields of the next query; `None` once the answer is complete."""
        self.answer: Any = None
        """The complete answer."""
        self._etag = ""
        self._pieces: list[bytes] = []
        self._restarts = 0

    def add_page(self, response: Any) -> None:
        """Add the response to `next_request`. If the answer has changed meanwhile, start at page 0 again.

        Raises:
            ServerError: it changes each time.
        """
        if not _is_page(response):
            self.answer, self.next_request = response, None
            return
        if response["etag"] != self._etag:
            has_changed = bool(self._pieces)
            self._etag, self._pieces = response["etag"], []
            if has_changed:
                self._restart()
                return
        self._pieces.append(base64.b64decode(response["piece"]))
        self.next_request = {"page": len(self._pieces), "etag": self._etag}
        if len(self._pieces) == response["pages"]:
            self.answer, self.next_request = from_json(b"".join(self._pieces)), None

    def _restart(self) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise ServerError(
                "The answer is too large for one response, and has changed each time its next part was read. "
                "Read it again later."
            )
        self.next_request = {"page": 0}


def _is_page(response: Any) -> bool:
    return isinstance(response, Mapping) and response.keys() == {"etag", "pages", "piece"}
