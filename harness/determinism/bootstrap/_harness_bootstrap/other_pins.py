"""TensorFlow and JAX: the global seed, deterministic operations, threads, full precision."""

from __future__ import annotations

from . import core

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from typing import Any


def tensorflow(tf: Any) -> None:
    """Pin TensorFlow; it has no warn-only mode, so an operation that cannot repeat does raise."""
    if core.pins("seeds"):
        core.attempt("tensorflow seeded", lambda: tf.random.set_seed(core.global_seed()))
    if core.pins("strict"):
        enable = tf.config.experimental.enable_op_determinism
        core.attempt("tensorflow deterministic operations", enable)
    if core.threads:
        core.attempt("tensorflow threads", lambda: _threads(tf.config.threading))


def _threads(threading: Any) -> None:
    threading.set_intra_op_parallelism_threads(core.threads)
    threading.set_inter_op_parallelism_threads(core.threads)


def jax(module: Any) -> None:
    """Pin JAX: its generators are explicit already; precision is what may vary."""
    if core.pins("strict"):
        update = module.config.update
        core.attempt(
            "jax full matmul precision", lambda: update("jax_default_matmul_precision", "highest")
        )
