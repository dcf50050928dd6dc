"""Runs in the sandbox: load one model file, predict on the probe inputs, write predictions.npz.

Started as a file with the model's name and its kind; it imports nothing of the house, and of
the built environment only what the model needs.
"""

import importlib
import sys
from typing import Any

OUT = "predictions.npz"
PROBE = "probe.npz"
METHODS = ("predict_proba", "decision_function", "predict")


def load(name: str, kind: str) -> Any:
    """Return the model in a file of the kind that was recognised outside."""
    if kind == "skops":  # names of types that skops does not trust are refused by it
        return importlib.import_module("skops.io").load(name)
    if kind == "lightgbm":
        return importlib.import_module("lightgbm").Booster(model_file=name)
    if kind == "xgboost":
        booster = importlib.import_module("xgboost").Booster()
        booster.load_model(name)
        return booster
    if kind == "catboost":
        form = "json" if name.endswith(".json") else "cbm"
        return importlib.import_module("catboost").CatBoost().load_model(name, format=form)
    try:
        return importlib.import_module("joblib").load(name)
    except ImportError:
        import pickle

        with open(name, "rb") as file:  # noqa: PTH123
            return pickle.load(file)


def inputs(model: Any, arrays: dict[str, Any]) -> tuple[Any, int]:
    """Return what the model is asked, and how many rows: one array, or a column per array."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None and set(map(str, names)) <= arrays.keys():
        frame = importlib.import_module("pandas").DataFrame({n: arrays[str(n)] for n in names})
        return frame, len(frame)
    if len(arrays) == 1:
        only = next(iter(arrays.values()))
        return only, len(only)
    if "X" in arrays:
        return arrays["X"], len(arrays["X"])
    raise SystemExit(f"{PROBE}: give one array, one named X, or one per feature name")


def plain(answer: Any, labels: bool) -> Any:
    """Return an answer as numbers; labels that are none become the digest of their text."""
    import numpy as np

    array = np.asarray(answer)
    if array.dtype.kind in "fiub" and not (labels and array.dtype.kind == "f"):
        return array
    import hashlib

    codes = [
        int.from_bytes(hashlib.sha256(str(v).encode()).digest()[:8], "little", signed=True)
        for v in array.reshape(-1).tolist()
    ]
    return np.array(codes, dtype=np.int64).reshape(array.shape)


def decided(scores: Any) -> Any:
    """Return chances of one class as two columns, which show the decision that each makes."""
    import numpy as np

    if scores.ndim == 1 and scores.min() >= 0 and scores.max() <= 1:
        return np.stack([1 - scores, scores], axis=1)
    return scores


def ask(model: Any, kind: str, given: Any) -> dict[str, Any]:
    """Return the answers of every prediction function that the model has, by its name."""
    if kind == "xgboost":
        given = importlib.import_module("xgboost").DMatrix(given)
    if kind == "catboost":
        found = {"decision_function": plain(model.predict(given, thread_count=1), False)}
        if len(model.classes_):
            found["predict"] = plain(model.predict(given, prediction_type="Class"), True)
        return found
    if hasattr(model, "n_jobs"):
        model.n_jobs = 1  # threads add up in the order in which they finish
    found = {}
    for name in METHODS:
        function = getattr(model, name, None)
        if function is not None:
            found[name] = plain(function(given), name == "predict" and hasattr(model, "classes_"))
    if kind in {"lightgbm", "xgboost"}:
        found["predict"] = decided(found["predict"])
    return found


def main() -> None:
    """Predict with the model that the arguments name."""
    import numpy as np

    with np.load(PROBE, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    name, kind = sys.argv[1:3]
    model = load(name, kind)
    given, rows = inputs(model, arrays)
    found = ask(model, kind, given)
    if not found or not rows:
        raise SystemExit(f"{type(model).__name__}: no {' / '.join(METHODS)}, or no probe row")
    np.savez(OUT, **found)


if __name__ == "__main__":
    main()
