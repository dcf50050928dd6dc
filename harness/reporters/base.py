"""The seam of the reporters: one record in, one document out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Reporter(Protocol):
    """One way to show a record; every name in it is untrusted text."""

    suffix: str

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return the document for a record (design section 10) and what the policy made of it."""
        ...
