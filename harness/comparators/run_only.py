"""Parameters that only say how a training ran: set aside where they cannot change a prediction.

`n_jobs` stays compared in forests, bagging, neighbours, clustering and decompositions: those use
it when they predict too, and sum in the order in which threads finish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

THREADS = "number of threads, no effect on the model"
PRINTS = "what the training prints, no effect on the model"
TIMES = "how long something took"


@dataclass(frozen=True)
class Rule:
    """Attributes `names` of classes that `match` are set aside; `below` is an attribute's own."""

    match: re.Pattern[str]
    names: frozenset[str]
    why: str
    below: str = ""


def _rule(match: str, names: str, why: str, below: str = "") -> Rule:
    return Rule(re.compile(match), frozenset(names.split()), why, below)


_SEARCH = r"sklearn\.model_selection\._search\w*\."
RULES = (
    _rule(
        r"sklearn\.(linear_model|model_selection|multiclass|multioutput|compose|feature_selection)"
        r"\.|sklearn\.pipeline\.|sklearn\.ensemble\._(stacking|voting)\."
        r"|(lightgbm|xgboost)\.sklearn\.",
        "n_jobs",
        THREADS,
    ),
    _rule(
        r"sklearn\.ensemble\._hist_gradient_boosting\.binning\._BinMapper$", "n_threads", THREADS
    ),
    _rule(r"sklearn\.|(lightgbm|xgboost)\.sklearn\.", "verbose verbosity", PRINTS),
    _rule(_SEARCH, "refit_time_", TIMES),
    _rule(
        _SEARCH, "mean_fit_time std_fit_time mean_score_time std_score_time", TIMES, "cv_results_"
    ),
    _rule(r"lightgbm\.sklearn\.", "num_threads nthread nthreads", THREADS),
    _rule(r"lightgbm\.sklearn\.", "num_threads nthread nthreads", THREADS, "_other_params"),
    _rule(r"lightgbm\.basic\.Booster", "num_threads n_jobs nthread", THREADS, "params"),
    _rule(r"lightgbm\.basic\.Booster", "verbosity verbose", PRINTS, "params"),
    _rule(r"catboost\.core\.", "thread_count", THREADS),
    _rule(r"catboost\.core\.", "verbose silent logging_level metric_period", PRINTS),
)


def stripped(name: str, attributes: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Take what only says how the training ran out of an object's attributes, in place.

    `name` is the dotted name of its class. Yields each attribute's name, value and why.
    """
    for rule in RULES:
        held = attributes.get(rule.below) if rule.below else attributes
        if isinstance(held, dict) and rule.match.match(name):
            for key in sorted(rule.names & held.keys()):
                yield key, held.pop(key), rule.why


# CatBoost's own record of how it was called; XGBoost's, in what it pickles
CATBOOST = {"thread_count": THREADS, "verbose": PRINTS, "logging_level": PRINTS, "silent": PRINTS}
XGBOOST = {"nthread": THREADS, "n_jobs": THREADS}


def taken(held: Any, names: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """Take parameters out of a dictionary, in place; of anything else nothing."""
    if isinstance(held, dict):
        for key, why in names.items():
            if key in held:
                yield key, held.pop(key), why
