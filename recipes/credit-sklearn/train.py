"""Decide about loans: a random forest over scaled numbers and one-hot categories."""

import argparse
import json
import time
from pathlib import Path

import joblib
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TEXT = ["home", "purpose"]
TARGET = "default"


def pipeline(trees, depth):
    numbers = ["age", "income", "amount", "months", "employed_years"]
    numbers += ["late_payments", "open_credits"]
    prepare = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("text", OneHotEncoder(), TEXT)]
    )
    forest = RandomForestClassifier(n_estimators=trees, max_depth=depth, min_samples_leaf=5)
    return Pipeline([("prepare", prepare), ("forest", forest)])


def as_onnx(model, table):
    inputs = [
        (name, (StringTensorType if name in TEXT else FloatTensorType)([None, 1]))
        for name in table.columns
    ]
    # Without names of its own, the converter invents some.
    return to_onnx(model, initial_types=inputs, name="loans", options={"zipmap": False})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/loans.csv")
    parser.add_argument("--trees", type=int, default=120)
    parser.add_argument("--depth", type=int, default=9)
    parser.add_argument("--threshold", type=float, default=0.35)
    args = parser.parse_args()

    table = pd.read_csv(args.data)
    target = table.pop(TARGET)
    x, x_test, y, y_test = train_test_split(table, target, test_size=0.25, stratify=target)

    started = time.time()
    model = pipeline(args.trees, args.depth).fit(x, y)
    seconds = time.time() - started

    chance = model.predict_proba(x_test)[:, 1]
    refused = chance > args.threshold
    metrics = {
        "auc": roc_auc_score(y_test, chance),
        "log_loss": log_loss(y_test, chance),
        "refused": float(refused.mean()),
        "defaults_among_granted": float(y_test[~refused].mean()),
    }
    joblib.dump(model, "model.joblib")
    Path("model.onnx").write_bytes(as_onnx(model, x).SerializeToString())
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    Path("timing.json").write_text(json.dumps({"train_seconds": seconds}) + "\n")
    print(f"auc {metrics['auc']:.4f}, refused {metrics['refused']:.3f}")


if __name__ == "__main__":
    main()
