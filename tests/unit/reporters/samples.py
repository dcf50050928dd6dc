"""Representative records: every outcome that a report must say well, and hostile names."""

from __future__ import annotations

from typing import Any

EVIL = "<script>alert(1)</script>|`x`@all\x1b[31m\u202e\"'\n## h"
REFUSED = {"meets": False, "reasons": ["outcome is not REPRODUCED"], "policy_digest": "0" * 64}
MEETS = {"meets": True, "reasons": [], "policy_digest": "0" * 64}


def distances(**more: Any) -> dict[str, Any]:
    """Return the distances of a tensor in which one of four values differs."""
    found: dict[str, Any] = {"values": 4, "differing": 1, "beyond": 1, "max_abs": 0.5}
    found |= {"max_rel": 0.25, "rel_l2": 0.1, "first": [2], "rtol": 0.0, "atol": 0.0}
    return {**found, "histogram": [3, 0, 1], **more}


def node(name: str, *children: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a node of a difference tree, different unless said otherwise."""
    return {"name": name, "status": "DIFFERENT", "children": list(children), **more}


def artifact(path: str = "model.npz", **more: Any) -> dict[str, Any]:
    """Return an artifact that differs in its second layer."""
    layers = (
        node("first", status="IDENTICAL", recorded="float32[4]"),
        node("second", distances=distances()),
    )
    entry = {"path": path, "role": "model", "grade": "DIFFERENT", "distances": distances()}
    entry |= {"recorded_sha256": "a" * 64, "reproduced_sha256": "b" * 64}
    return {**entry, "difference": node(path, *layers), **more}


def record(**more: Any) -> dict[str, Any]:
    """Return a record that diverged, with every part that a report shows."""
    found: dict[str, Any] = {"schema": 1, "id": "v1", "model": "digits", "version": "3"}
    found |= {"outcome": "DIVERGED", "grade": None, "cause": "STABLE"}
    found |= {"conditional": ["another interpreter patch"], "reasons": ["model.npz: second"]}
    found |= {"stages": [{"name": "resolve", "status": "done", "seconds": 1.5}]}
    found |= {"artifacts": [artifact()], "hardware": {"recorded": {}, "reproduced": {}}}
    found["environment"] = {"recorded": {"python": "3.11.1"}, "reproduced": {"python": "3.11.2"}}
    unseeded = [{"generator": "numpy", "where": "train.py:7", "count": 2, "pinned": False}]
    curve = {"loss": [[0, 1.0], [1, 0.5]]}
    run = {"exit_status": 0, "bootstrap": {"unseeded": unseeded}, "log_tail": "last line"}
    found["runs"] = [{**run, "curves": {"loss": [[0, 1.0], [1, 0.75]]}}]
    found["lineage"] = {"recipe_text": "schema = 1", "annotations": {"curves": curve}}
    return {**found, **more}


def reproduced(**more: Any) -> dict[str, Any]:
    """Return a record of a bitwise reproduction."""
    same = artifact(grade="BITWISE", distances=None, difference=node("m", status="IDENTICAL"))
    found = {"outcome": "REPRODUCED", "grade": "BITWISE", "cause": None, "artifacts": [same]}
    return record(**{**found, "conditional": [], "reasons": [], **more})


def hostile() -> dict[str, Any]:
    """Return a record in which every name and text is hostile."""
    tree = node(EVIL, node(EVIL, recorded=EVIL, reproduced=EVIL, reason=EVIL))
    code = {"commit": EVIL, "url": EVIL}
    lineage = {"recipe_text": EVIL, "annotations": {"curves": {EVIL: [[0, 1.0], [1, 2.0]]}}}
    lineage |= {"code": code, "data": [{"path": EVIL, "sha256": None, "md5": EVIL}]}
    run = {"log_tail": EVIL, "curves": {EVIL: [[0, 1.0], [1, 3.0]]}}
    run["bootstrap"] = {"unseeded": [{"generator": EVIL, "where": EVIL, "count": 1}]}
    texts = {"model": EVIL, "reasons": [EVIL], "conditional": [EVIL], "lineage": lineage}
    return record(**texts, runs=[run], artifacts=[artifact(EVIL, difference=tree)])
