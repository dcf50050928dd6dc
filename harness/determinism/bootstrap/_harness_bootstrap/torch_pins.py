"""torch: its global generators, deterministic algorithms in warn-only mode, reduced precision."""

from __future__ import annotations

import sys
from functools import partial

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def torch(module: Any) -> None:
    """Pin torch as the level says, and watch what it warns of."""
    _generator(module)
    if core.pins("strict"):
        core.attempt("torch deterministic algorithms (warn only)", lambda: _deterministic(module))
        _backends(module)
        from . import alarms

        core.attempt("torch warnings watched", alarms.install)


def _generator(t: Any) -> None:
    untouched: list[Any] = []

    def pin() -> None:
        if core.pins("seeds"):
            # In a forked child the accelerators are out of reach; its CPU stream is enough.
            (t.default_generator if core.forked else t).manual_seed(core.global_seed())
        untouched[:] = [t.initial_seed(), t.default_generator.get_state().numpy().tobytes()]

    def in_child() -> None:
        if t.initial_seed() == untouched[0]:
            pin()

    def judge() -> None:
        state = t.default_generator.get_state().numpy().tobytes()
        if t.initial_seed() == untouched[0] and state != untouched[1]:
            core.note(core.unseeded, "torch", where="", pinned=core.pins("seeds"))

    core.attempt("torch seeded" if core.pins("seeds") else "", pin)
    core.rekey.append(in_child)
    core.at_exit.append(judge)
    _reseeding(t, judge)


def _reseeding(t: Any, judge: Callable[[], None]) -> None:
    """`torch.seed()` asks for fresh entropy: name it, and give it ours."""
    real = t.random.seed
    stream = core.Stream("torch.seed") if core.pins("seeds") else None

    def seed() -> int:
        judge()
        core.note(core.unseeded, "torch.seed()", pinned=stream is not None)
        if stream is None:
            return int(real())
        chosen = stream.bits(63)
        t.manual_seed(chosen)
        return chosen

    t.seed = t.random.seed = seed


def _deterministic(t: Any) -> None:
    # The public function also imports torch's compiler, a second that most trainings never
    # need; its setting there is made by `inductor` if the compiler is imported.
    switch = getattr(t._C, "_set_deterministic_algorithms", None)
    if switch is None:
        t.use_deterministic_algorithms(True, warn_only=True)
    else:
        switch(True, warn_only=True)
    compiler = sys.modules.get("torch._inductor.config")
    if compiler is not None:
        inductor(compiler)


def inductor(config: Any) -> None:
    """Tell torch's compiler too, when the script brings it in."""
    if core.pins("strict") and hasattr(config, "deterministic"):
        config.deterministic = True


def _backends(t: Any) -> None:
    cudnn, matmul = t.backends.cudnn, t.backends.cuda.matmul

    def exact() -> None:
        cudnn.benchmark, cudnn.deterministic = False, True
        t.set_float32_matmul_precision("highest")
        cudnn.allow_tf32 = False

    core.attempt("cuDNN deterministic, TF32 off", exact)
    for name in ("fp16", "bf16"):
        setting = partial(setattr, matmul, f"allow_{name}_reduced_precision_reduction", False)
        core.attempt(f"{name} reductions in full precision", setting)
