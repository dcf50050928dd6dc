"""Configurations and training states of Hugging Face: where from and how fast, set aside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.comparators.base import CannotCompare, Context, Sniff
from harness.comparators.document import Document, DocumentComparator, contents
from harness.comparators.textual import loads, prepared

VERSION = "the version of the library that wrote the file; the environment is compared by itself"
ORIGIN = "where the model was loaded from; its weights are compared"
SPEED = "how long training and evaluation took"
FREE = {"transformers_version": VERSION, "_name_or_path": ORIGIN}
SPEEDS = re.compile(r"(\w+_)?(runtime|(samples|steps|tokens)_per_second)")
CONFIGS = {"config.json", "generation_config.json", "preprocessor_config.json",
           "processor_config.json", "tokenizer_config.json"}  # fmt: skip
STATE = "trainer_state.json"
RESULTS = re.compile(r"(all|train|eval|predict|test)_results\.json")


class HuggingFaceComparator(DocumentComparator):
    """`config.json` and its like, `trainer_state.json`, `*_results.json`."""

    id = "huggingface"
    version = 1

    def recognises(self, sniff: Sniff) -> bool:
        """Return whether name and content are those of one of these files."""
        name = sniff.path.name
        if sniff.head.lstrip()[:1] != b"{":
            return False
        if name == STATE:
            return b'"log_history"' in sniff.head or b'"global_step"' in sniff.head
        known = any(f'"{key}"'.encode() in sniff.head for key in FREE)
        return (name in CONFIGS and known) or RESULTS.fullmatch(name) is not None

    def parse(self, path: Path, context: Context) -> Document:
        """Read one file."""
        held = loads(contents(path, context.bounds.text).decode("utf-8"))
        if not isinstance(held, dict):
            raise CannotCompare(f"{path.name}: not an object")
        if path.name in CONFIGS:
            aside = {k: (repr(held.pop(k)), why) for k, why in FREE.items() if k in held}
            return Document(prepared(held), aside)
        rows = held.get("log_history", []) if path.name == STATE else [held]
        speeds = [_taken(row) for row in rows if isinstance(row, dict)]
        return Document(prepared(held), {"speed": (speeds, SPEED)})


def _taken(row: dict[str, Any]) -> list[str]:
    """Take what only says how fast it went out of one row, in place."""
    names = [k for k in row if SPEEDS.fullmatch(k)]
    return [f"{k} {row.pop(k)!r}" for k in names]
