"""Score card payments for fraud with gradient boosting."""

import argparse
import json
import time
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/payments.csv")
    parser.add_argument("--rounds", type=int, default=150)
    parser.add_argument("--leaves", type=int, default=24)
    parser.add_argument("--alerts", type=int, default=100, help="payments a day to look at")
    args = parser.parse_args()

    table = pd.read_csv(args.data)
    table["shop"] = table["shop"].astype("category")
    target = table.pop("fraud")
    x, x_test, y, y_test = train_test_split(table, target, test_size=0.25, stratify=target)

    started, history = time.time(), {}
    model = lgb.train(
        {
            "objective": "binary",
            "metric": ["binary_logloss", "auc"],
            "num_leaves": args.leaves,
            "learning_rate": 0.07,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "feature_fraction": 0.8,
            "verbosity": -1,
        },
        lgb.Dataset(x, y),
        args.rounds,
        valid_sets=[lgb.Dataset(x_test, y_test)],
        valid_names=["held_out"],
        callbacks=[lgb.record_evaluation(history), lgb.log_evaluation(50)],
    )
    seconds = time.time() - started

    score = np.asarray(model.predict(x_test))
    top = np.argsort(-score, kind="stable")[: args.alerts]
    metrics = {
        "auc": roc_auc_score(y_test, score),
        "average_precision": average_precision_score(y_test, score),
        "precision_of_alerts": float(y_test.to_numpy()[top].mean()),
        "history": {name: values for name, values in history["held_out"].items()},
    }
    model.save_model("model.txt")
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    Path("timing.json").write_text(json.dumps({"train_seconds": seconds}) + "\n")
    print(f"auc {metrics['auc']:.4f}, alerts right {metrics['precision_of_alerts']:.2f}")


if __name__ == "__main__":
    main()
