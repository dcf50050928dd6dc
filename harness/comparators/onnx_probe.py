"""Child process: run one ONNX model on recorded or generated inputs, under resource limits.

Started as a file, isolated (`python -I`), with one JSON argument; it imports nothing of the house.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

ROWS, ROUNDS, OTHER, MEMORY, SECONDS, WRITTEN = 256, 64, 8, 16 << 30, 300, 1 << 30


def limit() -> None:
    """Bound memory, processor time, file size and open files of this process."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, WRITTEN),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bound, bound))


def feeds(session: Any, seed: int) -> list[dict[str, Any]]:
    """Return inputs drawn from the signature: many rows, or many rounds of a fixed number."""
    import numpy as np

    draw = np.random.default_rng(seed)
    is_open = any(i.shape and not isinstance(i.shape[0], int) for i in session.get_inputs())
    return [generated(session, draw) for _ in range(1 if is_open else ROUNDS)]


def generated(session: Any, draw: Any) -> dict[str, Any]:
    """Return one set of inputs; the first open dimension is the rows."""
    feed = {}
    for at in session.get_inputs():
        shape = [
            d if isinstance(d, int) and d > 0 else (ROWS if not i else OTHER)
            for i, d in enumerate(at.shape or [])
        ]
        kind = at.type.removeprefix("tensor(").removesuffix(")")
        if kind in {"float", "double", "float16"}:
            feed[at.name] = draw.standard_normal(shape).astype(
                {"float": "f4", "double": "f8", "float16": "f2"}[kind]
            )
        elif kind == "bool":
            feed[at.name] = draw.random(shape) < 0.5
        elif kind.removeprefix("u").startswith("int"):
            feed[at.name] = draw.integers(0, 8, shape).astype(kind)
        else:
            raise ValueError(f"no inputs can be generated for {at.name}: {at.type}")
    return feed


def recorded(session: Any, path: str) -> dict[str, Any]:
    """Return the recorded probe inputs, by name; one array serves a model of one input."""
    import numpy as np

    with np.load(path, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    names = [i.name for i in session.get_inputs()]
    if len(names) == 1 and names[0] not in arrays and len(arrays) == 1:
        return {names[0]: next(iter(arrays.values()))}
    return {name: arrays[name] for name in names}


def main() -> None:
    """Run the model that the argument names and write its outputs as npz."""
    task = json.loads(sys.argv[1])
    limit()
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    session = ort.InferenceSession(task["model"], options, providers=["CPUExecutionProvider"])
    probe = task["probe"]
    given = [recorded(session, probe)] if probe else feeds(session, task["seed"])
    parts: dict[str, list[Any]] = {at.name: [] for at in session.get_outputs()}
    for feed in given:
        for name, value in zip(parts, session.run(None, feed), strict=True):
            if isinstance(value, list):  # ZipMap: one {label: score} per row
                value = np.array([[row[k] for k in sorted(row)] for row in value])
            array = np.atleast_1d(np.asarray(value))
            parts[name].append(array.astype(np.str_) if array.dtype.hasobject else array)
    found: dict[str, Any] = {name: np.concatenate(held) for name, held in parts.items()}
    np.savez(task["out"], **found)


if __name__ == "__main__":
    main()
