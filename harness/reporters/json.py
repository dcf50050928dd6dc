"""A record as JSON, with what the policy makes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class JsonReporter:
    """The record itself and the decision."""

    suffix = ".json"

    def render(self, record: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
        """Return one object with the keys of the record, and `decision`."""
        return json.dumps({**record, "decision": decision}, indent=1, ensure_ascii=False) + "\n"
