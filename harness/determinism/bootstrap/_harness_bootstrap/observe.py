"""What this process ran on: threads, CPU capability, GPUs, BLAS, versions in use."""

# pathlib alone would cost more than the start-up may
# ruff: noqa: PTH123
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # the module `typing` would cost more than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_LIBRARIES = (
    *("numpy", "scipy", "pandas", "pyarrow", "sklearn", "joblib", "torch", "torchvision"),
    *("tensorflow", "keras", "jax", "jaxlib", "lightgbm", "xgboost", "catboost"),
    *("onnx", "onnxruntime", "skl2onnx", "transformers", "safetensors", "mlflow"),
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def machine() -> dict[str, Any]:
    """Return everything that can be asked without importing anything new."""
    facts: dict[str, Any] = {"libraries": _versions(), "threads": _threads()}
    for name, ask in (
        ("capability", _capability),
        ("gpus", _gpus),
        ("blas", _blas),
        ("stack", _stack),
    ):
        facts[name] = _quietly(ask)
    return facts


def _quietly(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:
        return f"unknown: {error!r}"[:200]


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version
    return found


def _threads() -> dict[str, int]:
    found = {}
    for name in _THREADS:
        value = os.environ.get(name, "")
        if value.isdigit():
            found[name] = int(value)
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        found["torch"] = int(torch.get_num_threads())
    if hasattr(os, "sched_getaffinity"):
        found["cpus"] = len(os.sched_getaffinity(0))
    return found


def _capability() -> str:
    torch: Any = sys.modules.get("torch")
    return "" if torch is None else str(torch.backends.cpu.get_cpu_capability())


def _gpus() -> list[dict[str, Any]]:
    torch: Any = sys.modules.get("torch")
    # Asking a runtime that the script never started would itself start it.
    if torch is None or not torch.cuda.is_initialized() or torch.cuda._is_in_bad_fork():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        found.append(
            {"model": card.name, "sm_count": card.multi_processor_count, "driver": _driver()}
        )
    return found


def _driver() -> str:
    try:
        with open("/proc/driver/nvidia/version") as source:
            words = source.readline().split()
    except OSError:
        return ""
    return next((w for w in words if w[:1].isdigit() and "." in w), "")


def _stack() -> dict[str, str]:
    """Return the versions below torch that change bits: CUDA and cuDNN."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.version.cuda or not torch.cuda.is_initialized():
        return {}
    return {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}


def _blas() -> list[str]:
    control: Any = sys.modules.get("threadpoolctl")
    if control is not None:
        keys = ("internal_api", "version", "architecture", "threading_layer")
        return [
            " ".join(str(pool[k]) for k in keys if pool.get(k))
            for pool in control.threadpool_info()
        ]
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not hasattr(numpy, "show_config"):
        return []
    blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return [f"{blas['name']} {blas['version']}"]
