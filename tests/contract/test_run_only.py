"""What only says how a training ran, in models that the real libraries pickle."""

import collections
import pickle

import numpy as np
import pytest

from harness.comparators import family
from harness.model import Status

pytestmark = pytest.mark.filterwarnings("ignore:'n_jobs' has no effect:FutureWarning")
RNG = np.random.default_rng(5)
X = RNG.standard_normal((200, 5))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
FLIPPED = np.where(np.arange(200) < 9, 1 - Y, Y)


def logistic(threads, labels=Y):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(n_jobs=threads, verbose=0).fit(X, labels)


def search(threads, labels=Y):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    grid = {"C": [0.1, 1.0]}
    return GridSearchCV(LogisticRegression(), grid, cv=3, n_jobs=threads).fit(X, labels)


def several(threads, labels=Y):
    from sklearn.linear_model import Ridge
    from sklearn.multioutput import MultiOutputRegressor

    return MultiOutputRegressor(Ridge(), n_jobs=threads).fit(X, np.c_[labels, X[:, 0]])


def stacking(threads, labels=Y):
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    models = [("a", GaussianNB()), ("b", LogisticRegression())]
    return StackingClassifier(models, n_jobs=threads).fit(X, labels)


def lightgbm(threads, labels=Y):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=3, n_jobs=threads, verbose=-1).fit(X, labels)


def renamed(threads, labels=Y):
    """LightGBM knows the number by several names, and keeps the one it was given."""
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=3, num_threads=threads, verbose=-1).fit(X, labels)


def xgboost(threads, labels=Y):
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=3, n_jobs=threads).fit(X, labels)


def catboost(threads, labels=Y):
    from catboost import CatBoostClassifier

    settings = {"iterations": 3, "verbose": 0, "allow_writing_files": False}
    return CatBoostClassifier(thread_count=threads, **settings).fit(X, labels)


def histograms(threads, labels=Y):
    """A model that remembers how many threads the machine gave it, without being asked."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        return HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(X, labels)


def forest(threads, labels=Y):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(5, random_state=0, n_jobs=threads).fit(X, labels)


# model -> what is set aside, what a flipped label changes
FREE = {
    logistic: ({"n_jobs"}, "coef_"),
    search: ({"n_jobs", "refit_time_", "mean_fit_time", "std_score_time"}, "score"),
    several: ({"n_jobs"}, "estimators_"),
    stacking: ({"n_jobs"}, "estimator"),
    lightgbm: ({"n_jobs", "num_threads", "run-time parameters"}, "Tree=0"),
    renamed: ({"num_threads", "run-time parameters"}, "Tree=0"),
    xgboost: ({"n_jobs", "nthread"}, "tree 0"),
    histograms: ({"n_threads"}, "predict"),
    catboost: ({"thread_count", "model_guid"}, "model"),
}


def saved(folder, name, model):
    path = folder / f"{name}.pkl"
    path.write_bytes(pickle.dumps(model))
    return path


@pytest.mark.parametrize("make", FREE, ids=lambda m: m.__name__)
def test_the_number_of_threads_is_set_aside_where_it_cannot_change_a_prediction(make, tmp_path):
    one, two = make(1), make(2)
    for _ in range(3):
        assert one.predict(X).tobytes() == two.predict(X).tobytes()
        if hasattr(one, "predict_proba"):
            assert one.predict_proba(X).tobytes() == two.predict_proba(X).tobytes()
    found = family.compare(saved(tmp_path, "a", one), saved(tmp_path, "b", two), "m")
    assert found.status == Status.EXACT, found.reason
    assert FREE[make][0] <= {part.what for part in found.set_aside}
    assert all(part.why for part in found.set_aside)
    assert found.values > 5


@pytest.mark.parametrize("make", FREE, ids=lambda m: m.__name__)
def test_a_flipped_label_is_caught_all_the_same(make, tmp_path):
    pair = saved(tmp_path, "a", make(1)), saved(tmp_path, "b", make(1, FLIPPED))
    found = family.compare(*pair, "m")
    assert found.status == Status.DIFFERENT
    assert FREE[make][1] in found.reason, found.reason


def test_threads_of_a_forest_stay_compared_since_it_sums_in_their_order(tmp_path):
    found = family.compare(saved(tmp_path, "a", forest(1)), saved(tmp_path, "b", forest(2)), "m")
    assert (found.status, found.reason) == (Status.DIFFERENT, "first difference: n_jobs")


def test_the_same_name_in_any_other_class_stays_compared(tmp_path):
    pair = [collections.UserDict(n_jobs=n) for n in (1, 2)]
    found = family.compare(*(saved(tmp_path, str(n), p) for n, p in enumerate(pair)), "m")
    assert found.status == Status.DIFFERENT
    plain = [{"n_jobs": n, "verbose": n} for n in (1, 2)]
    found = family.compare(*(saved(tmp_path, str(n), p) for n, p in enumerate(plain)), "m")
    assert found.status == Status.DIFFERENT


def test_every_other_parameter_stays_compared(tmp_path):
    one, two = logistic(1), logistic(1)
    two.max_iter = 101
    found = family.compare(saved(tmp_path, "a", one), saved(tmp_path, "b", two), "m")
    assert (found.status, found.reason) == (Status.DIFFERENT, "first difference: max_iter")


def test_the_oldest_protocols_are_held_to_the_same_rule(tmp_path):
    paths = [tmp_path / "a.pkl", tmp_path / "b.pkl"]
    for n, path in enumerate(paths, 1):
        path.write_bytes(pickle.dumps(logistic(n), protocol=1))
    assert family.compare(*paths, "m").status == Status.EXACT


@pytest.mark.parametrize("kind", ["cbm", "json"])
def test_catboost_files_say_how_many_threads_there_were(kind, tmp_path):
    for n in (1, 2):
        catboost(n).save_model(tmp_path / f"{n}.{kind}", format=kind)
    found = family.compare(tmp_path / f"1.{kind}", tmp_path / f"2.{kind}", "m")
    assert found.status == Status.EXACT, found.reason
    assert "thread_count" in {part.what for part in found.set_aside}


@pytest.mark.parametrize("make", FREE, ids=lambda m: m.__name__)
def test_skops_is_held_to_the_same_rule(make, tmp_path):
    """MLflow's flavors of scikit-learn and LightGBM save in skops."""
    import skops.io

    for name, model in (("a", make(1)), ("b", make(2)), ("c", make(1, FLIPPED))):
        skops.io.dump(model, tmp_path / f"{name}.skops")
    found = family.compare(tmp_path / "a.skops", tmp_path / "b.skops", "m")
    assert found.status == Status.EXACT, found.reason
    assert FREE[make][0] <= {part.what for part in found.set_aside}
    found = family.compare(tmp_path / "a.skops", tmp_path / "c.skops", "m")
    assert found.status == Status.DIFFERENT
    assert FREE[make][1] in found.reason, found.reason


@pytest.mark.parametrize("make", [lightgbm, xgboost, catboost], ids=lambda m: m.__name__)
def test_a_broken_model_inside_a_pickle_stays_the_bytes_that_it_is(make, tmp_path):
    path = saved(tmp_path, "a", make(1))
    data = path.read_bytes()
    starts = (b"tree\nversion=v", b"{L\0\0\0\0\0\0\0\x06Config{", b"CBM1")
    at = next(data.index(s) for s in starts if s in data)
    broken = tmp_path / "b.pkl"
    for offset in (7, 60, 400, 900):
        broken.write_bytes(data[: at + offset] + b"\xff" + data[at + offset + 1 :])
        found = family.compare(path, broken, "m")
        assert found.status in {Status.DIFFERENT, Status.UNCOMPARABLE}, offset


@pytest.mark.parametrize("zipped", [True, False])
def test_a_model_inside_a_torch_file_is_held_to_the_same_rule(zipped, tmp_path):
    import torch

    paths = [tmp_path / str(n) / "m.pt" for n in (1, 2)]
    for n, path in enumerate(paths, 1):
        path.parent.mkdir()
        held = {"head": logistic(n), "w": torch.ones(2)}
        torch.save(held, path, _use_new_zipfile_serialization=zipped)
    found = family.compare(*paths, "m")
    assert found.status == Status.EXACT, found.reason
    assert any("n_jobs" in part.what for part in found.set_aside)


@pytest.mark.parametrize("mark", ["\v", "\f", "\x1c", "\x85", "\u2028"])
def test_a_line_of_lightgbm_ends_where_lightgbm_ends_it(mark, tmp_path):
    """Python ends lines at more marks: a parameter behind one would be lost to LightGBM alone."""
    paths = [tmp_path / f"{n}.txt" for n in (1, 2)]
    text = lightgbm(1).booster_.model_to_string()
    assert "\nleaf_count" in text
    for path, line in zip(paths, ("\nleaf_count", f"{mark}leaf_count"), strict=True):
        path.write_text(text.replace("\nleaf_count", line, 1), "utf-8", newline="\n")
    found = family.compare(*paths, "m")
    assert found.status in {Status.DIFFERENT, Status.UNCOMPARABLE}
