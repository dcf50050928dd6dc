"""Act on a module right after its own import has finished, and only then."""

from __future__ import annotations

import sys
from importlib import import_module

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

# module -> where its action lives; loaded only when the training imports the module
ACTIONS = {
    "random": ("generators", "python"),
    "numpy.random": ("generators", "numpy"),
    "torch": ("torch_pins", "torch"),
    "torch._inductor.config": ("torch_pins", "inductor"),
    "tensorflow": ("other_pins", "tensorflow"),
    "jax": ("other_pins", "jax"),
}


def act(name: str, module: ModuleType) -> None:
    """Run the action of `name`; the training never sees it fail."""
    home, function = ACTIONS[name]
    try:
        getattr(import_module("_harness_bootstrap." + home), function)(module)
    except Exception as error:
        core.failed.append(f"{name}: {error!r}"[:300])


class Finder:
    """Lets the other finders find, then listens for the end of the module's execution."""

    def __init__(self) -> None:
        self.busy = ""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return the real spec of a module that has an action, else nothing."""
        if name not in ACTIONS or name == self.busy:
            return None
        self.busy, before = name, self.busy
        try:
            spec = self._ask_others(name, path, target)
        finally:
            self.busy = before
        if spec is not None:
            _listen(spec, name)
        return spec

    def _ask_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is not self and find is not None:
                spec: ModuleSpec | None = find(name, path, target)
                if spec is not None:
                    return spec
        return None


def _listen(spec: ModuleSpec, name: str) -> None:
    loader: Any = spec.loader
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        core.failed.append(f"{name}: its loader cannot be observed")
        return

    def exec_module(module: ModuleType) -> None:
        del loader.exec_module  # only this instance was touched: nothing of it stays behind
        execute(module)
        act(name, sys.modules.get(name, module))

    try:
        loader.exec_module = exec_module
    except AttributeError as error:
        core.failed.append(f"{name}: {error!r}"[:300])


def install() -> None:
    """Listen from now on, and act on what is already there."""
    sys.meta_path.insert(0, Finder())
    for name in ACTIONS:
        if name in sys.modules:
            act(name, sys.modules[name])
