"""Python's and numpy's generators: seed the global ones, pin or name the unseeded ones."""

from __future__ import annotations

import os
import sys

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

# Temporary names and process plumbing draw numbers that no model ever sees.
_PLUMBING = (
    "tempfile",
    "uuid",
    "multiprocessing",
    "concurrent",
    "asyncio",
    "email",
    "joblib.exter",
)


class Global:
    """One global generator: seeded by us unless the script does, and whether it was drawn from."""

    def __init__(
        self, name: str, seed: Callable[[int], Any], state: Callable[[], Any], copied: bool
    ) -> None:
        self.name, self.seed, self.state = name, seed, state
        self.copied = copied  # whether a forked child starts with its parent's state
        self.by_user = False
        self.pin()
        core.rekey.append(self.in_child)
        core.at_exit.append(self.judge)

    def pin(self) -> None:
        """Seed it at this level, and remember the state that nobody has drawn from."""
        if core.pins("seeds"):
            core.attempt(f"{self.name} seeded", lambda: self.seed(core.global_seed()))
        self.untouched = self.state()

    def in_child(self) -> None:
        """Give a forked child its own stream; a seed that the script chose stays its own."""
        if not (self.by_user and self.copied):
            self.pin()

    def judge(self) -> None:
        """Report it when the script drew from it without having seeded it."""
        if not self.by_user and self.state() != self.untouched:
            core.note(core.unseeded, self.name, where="", pinned=core.pins("seeds"))

    def watch(self, home: Any) -> None:
        """Notice when the script itself seeds it; `seed()` alone asks for fresh entropy."""
        real = home.seed
        fresh = core.Stream(f"{self.name}.seed") if core.pins("seeds") else None

        def seed(*args: Any, **kwargs: Any) -> Any:
            self.judge()  # what was drawn until now was drawn without this seed
            if any(a is not None for a in (*args, *kwargs.values())):
                self.by_user = True
                return real(*args, **kwargs)
            core.note(core.unseeded, f"{self.name}.seed()", pinned=fresh is not None)
            return real(*args, **kwargs) if fresh is None else real(fresh.bits(32))

        seed.__name__, seed.__doc__ = "seed", getattr(real, "__doc__", "")
        home.seed = seed


def python(module: Any) -> None:
    """Pin the module `random`: its global generator, and at `entropy` every `Random()`."""
    _unseeded_randoms(module)
    # CPython gives forked children fresh entropy; ours runs after it, so registering comes here.
    own = Global("random", module.seed, module.getstate, copied=False)
    own.watch(module)
    if core.rekey and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=own.in_child)


def _unseeded_randoms(module: Any) -> None:
    real = module.Random.seed
    stream = core.Stream("random.Random") if core.pins("entropy") else None

    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        if a is None and self is not module._inst:
            maker = _maker(module.__file__)
            if not maker.startswith(_PLUMBING):
                name = f"random.Random() of {maker}" if maker else "random.Random()"
                core.note(core.unseeded, name, pinned=stream is not None)
            a = None if stream is None else stream.bits(128)
        real(self, a, version)

    seed.__doc__ = real.__doc__
    module.Random.seed = seed


def _maker(random_file: str) -> str:
    """Return the package that makes a generator, or an empty string for the script's own code."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_filename == random_file:
        frame = frame.f_back
    if core.is_own(frame.f_code.co_filename) or frame.f_globals.get("__name__") == "__main__":
        return ""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def numpy(module: ModuleType) -> None:
    """Pin `numpy.random`: the legacy global generator, and every generator made without seed."""
    random: Any = module

    def state() -> Any:
        held = random.get_state(legacy=False)
        return held["state"]["key"].tobytes(), held["state"]["pos"]

    Global("numpy.random", random.seed, state, copied=True).watch(random)
    source: Any = sys.modules["numpy.random.bit_generator"]
    draw = core.Stream("numpy.random").bits if core.pins("seeds") else source.randbits

    # Each unseeded default_rng(), SeedSequence(), RandomState() asks this one function.
    def randbits(count: int) -> int:
        core.note(core.unseeded, "numpy.random generator", pinned=core.pins("seeds"))
        return int(draw(count))

    source.randbits = randbits
    if core.pins("seeds"):
        core.done.append("numpy unseeded generators")
