"""Predict which customers leave, with gradient boosted trees."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="data/customers.csv")
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--depth", type=int, default=5)
    args = parser.parse_args()

    table = pd.read_csv(args.data)
    target = table.pop("churned")
    x, x_test, y, y_test = train_test_split(table, target, test_size=0.25, stratify=target)
    train, held_out = xgb.DMatrix(x, y), xgb.DMatrix(x_test, y_test)

    started, history = time.time(), {}
    model = xgb.train(
        {
            "objective": "binary:logistic",
            "eval_metric": ["logloss", "auc"],
            "max_depth": args.depth,
            "eta": 0.1,
            "subsample": 0.8,
            "colsample_bytree": 0.8,
            "seed": np.random.randint(2**31 - 1),
        },
        train,
        args.rounds,
        evals=[(held_out, "held_out")],
        evals_result=history,
        verbose_eval=40,
    )
    seconds = time.time() - started

    chance = model.predict(held_out)
    metrics = {
        "auc": roc_auc_score(y_test, chance),
        "churn_rate_of_top_tenth": float(
            y_test.to_numpy()[np.argsort(-chance, kind="stable")[: len(chance) // 10]].mean()
        ),
        "history": history["held_out"],
    }
    model.save_model("model.json")
    model.save_model("model.ubj")
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    Path("timing.json").write_text(json.dumps({"train_seconds": seconds}) + "\n")
    print(f"auc {metrics['auc']:.4f}")


if __name__ == "__main__":
    main()
