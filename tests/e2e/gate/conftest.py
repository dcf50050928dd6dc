"""A bank with three roles over a copy of one empty registry."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.bank import bank, empty_registry, gate, run

__all__ = ["bank", "empty_registry", "gate", "run"]
