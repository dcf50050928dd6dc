"""What a registry does have, for who asked for something that it has not."""

from __future__ import annotations

import re
from typing import Any

MOST = 10


def instead(client: Any, what: str) -> str:
    """Return the next step of who asked for `what`, a model's name or `models:/Name/3`."""
    name = re.sub(r"[@/][^@/]*$", "", what.removeprefix("models:/"))
    quoted = name.replace("'", "\\'")
    if rows := client.search_model_versions(f"name = '{quoted}'", MOST):
        numbers = sorted(int(row.version) for row in rows)
        return f"{name} has version {', '.join(map(str, numbers))}"
    models = sorted(model.name for model in client.search_registered_models(max_results=MOST))
    if models:
        return f"it has {', '.join(models)}; HARNESS_REGISTRY names another registry"
    return "nothing is registered there yet: harness record, or set HARNESS_REGISTRY"
