"""The operator's acceptance criteria, per model and stage, and what they make of a record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from harness.errors import UsageError
from harness.model import Decision, Grade, Outcome, Stage

BUILT_IN = "harness:built-in-policy"
STAGED = (Stage.STAGING, Stage.PRODUCTION)
# What a signed waiver can set aside. A difference, a tampered file, a bad signature, a broken
# chain or an unsandboxed run above Development can not be set aside by anybody.
WAIVABLE = (
    "caps",
    "grade",
    "hardware",
    "inconclusive",
    "lineage",
    "rerun-failed",
    "runs",
    "runtime",
    "stale",
    "unavailable",
    "verifiers",
)


@dataclass(frozen=True)
class Criteria:
    """What one model must meet at one stage.

    `max_rtol` and `max_atol` cap the tolerances that a recipe declares; `max_age` is in seconds,
    None for any age; `sandbox` is `any` or `required`; `runtimes` and `hardware` empty mean any,
    each element of `hardware` being a set of globs of which one must fit; `verifiers` counts
    distinct keys, `agreeing_runs` the verifications that must agree below EXACT; `approvers` and
    `waivers_by` are identities, empty for any trusted approver; `rehash` reads the registered
    files again before they are let through.
    """

    minimum_grade: Grade = Grade.TOLERANCE
    max_rtol: float = 1e-2
    max_atol: float = 1e-2
    sandbox: str = "any"
    runtimes: tuple[str, ...] = ()
    hardware: tuple[tuple[str, ...], ...] = ()
    max_age: int | None = None
    verifiers: int = 1
    distinct_hosts: bool = False
    agreeing_runs: int = 1
    approvals: int = 0
    four_eyes: bool = True
    approvers: tuple[str, ...] = ()
    waivable: tuple[str, ...] = ()
    waivers_by: tuple[str, ...] = ()
    rehash: bool = False


@dataclass(frozen=True)
class Rule:
    """Criteria for the models that fit one of the globs, at these stages; None: not stated."""

    models: tuple[str, ...]
    stages: tuple[Stage, ...]
    stated: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, model: str, stage: Stage) -> bool:
        """Return whether this rule speaks about a model at a stage."""
        return stage in self.stages and any(fnmatchcase(model, m) for m in self.models)


@dataclass(frozen=True)
class Policy:
    """Acceptance criteria with their own digest; `reruns` is how many a difference gets."""

    uri: str
    digest: str
    text: str
    base: Criteria
    reruns: int
    rules: tuple[Rule, ...] = ()

    def criteria(self, model: str, stage: Stage) -> Criteria:
        """Return what a model must meet at a stage: the strictest of everything that fits.

        Raises: UsageError when two rules that fit contradict each other.
        """
        found = self.base
        fitting = [r.stated for r in self.rules if r.fits(model, stage)]
        for stated in fitting:
            found = _stricter(found, stated, f"{self.uri}: {model} at {stage}")
        if stage == Stage.DEVELOPMENT:
            return found
        # What every staged policy has: never unsandboxed, and, unless the operator says otherwise,
        # four eyes and registered files that are read again.
        kept: dict[str, Any] = {n: _unless_declined(n, fitting) for n in ("four_eyes", "rehash")}
        return replace(found, sandbox="required", **kept)


def _unless_declined(name: str, fitting: list[Mapping[str, Any]]) -> bool:
    said = [stated[name] for stated in fitting if name in stated]
    return any(said) or not said


def _stricter(found: Criteria, stated: Mapping[str, Any], where: str) -> Criteria:
    values: dict[str, Any] = {}
    for name, value in stated.items():
        now = getattr(found, name)
        if name == "minimum_grade":
            values[name] = min(now, value, key=lambda g: g.rank)
        elif name in {"max_rtol", "max_atol", "max_age"}:
            values[name] = value if now is None else min(now, value)
        elif name in {"verifiers", "agreeing_runs", "approvals"}:
            values[name] = max(now, value)
        elif name in {"four_eyes", "rehash"}:
            continue
        elif name == "distinct_hosts":
            values[name] = now or value
        elif name == "sandbox":
            values[name] = "required" if "required" in (now, value) else "any"
        elif name == "hardware":
            values[name] = (*now, value)
        else:
            values[name] = _both(now, value, f"{where}: {name}")
    return replace(found, **values)


def _both(now: tuple[str, ...], value: tuple[str, ...], where: str) -> tuple[str, ...]:
    both = tuple(v for v in value if not now or v in now)
    if value and not both:
        raise UsageError(
            f"{where}: {', '.join(value)} and {', '.join(now)} exclude each other",
            "correct one of the two rules",
        )
    return both


@dataclass(frozen=True)
class Refusal:
    """One reason why a record does not meet the criteria: its code, and the reason in words."""

    code: str
    detail: str


_OUTCOMES = {
    Outcome.DIVERGED: "diverged",
    Outcome.TAMPERED: "tampered",
    Outcome.INCOMPLETE_LINEAGE: "lineage",
    Outcome.SOURCE_UNAVAILABLE: "unavailable",
    Outcome.RERUN_FAILED: "rerun-failed",
    Outcome.INCONCLUSIVE: "inconclusive",
    Outcome.ERROR: "error",
}


def decide(policy: Policy, record: Mapping[str, Any]) -> Decision:
    """Return whether a record meets the policy for its model, before any stage."""
    criteria = policy.criteria(str(record.get("model", "")), Stage.DEVELOPMENT)
    reasons = tuple(r.detail for r in refusals(criteria, record))
    return Decision(not reasons, reasons, policy.digest)


def refusals(criteria: Criteria, record: Mapping[str, Any]) -> Iterator[Refusal]:
    """Yield every reason why one record alone does not meet the criteria."""
    outcome = record["outcome"]
    if outcome == Outcome.INCOMPLETE_LINEAGE and record.get("reasons"):
        # Gap by gap: some may be waived, others not.
        yield from (Refusal("lineage", str(reason)) for reason in record["reasons"])
        return
    if outcome != Outcome.REPRODUCED:
        more = "; ".join(str(r) for r in record.get("reasons", ())[:5])
        detail = f"the outcome is {outcome}" + (f": {more}" if more else "")
        yield Refusal(_OUTCOMES[Outcome(outcome)], detail)
        return
    grade = Grade(record["grade"])
    if not grade.meets(criteria.minimum_grade):
        yield Refusal("grade", f"grade {grade} is below {criteria.minimum_grade}")
    if criteria.sandbox == "required" and _unsandboxed(record):
        yield Refusal("sandbox", "a run was not sandboxed")
    runtime = record.get("environment", {}).get("reproduced", {}).get("runtime", "")
    if criteria.runtimes and runtime not in criteria.runtimes:
        allowed = ", ".join(criteria.runtimes)
        yield Refusal("runtime", f"runtime {runtime or 'unknown'} is not one of {allowed}")
    yield from _hardware(criteria, record)
    for artifact in record.get("artifacts", ()):
        d = artifact.get("distances")
        d = d if isinstance(d, Mapping) else {}
        # Asked this way round, since no comparison with a NaN is true.
        narrow = _number(d.get("rtol")) <= criteria.max_rtol
        if not (narrow and _number(d.get("atol")) <= criteria.max_atol):
            detail = f"{artifact.get('path')}: its tolerance is wider than the policy's caps"
            yield Refusal("caps", detail)


def _number(value: Any) -> float:
    try:
        return float(value or 0)
    except (TypeError, ValueError):
        return float("nan")


def _unsandboxed(record: Mapping[str, Any]) -> bool:
    """Return whether a run was not sandboxed; a record without any run proves no sandbox."""
    runs = [r for r in record.get("runs", ()) if r]
    return not runs or any(r.get("sandbox", "none") == "none" for r in runs)


def _hardware(criteria: Criteria, record: Mapping[str, Any]) -> Iterator[Refusal]:
    sides = record.get("hardware", {})
    was, now = (hardware_class(sides.get(k) or {}) for k in ("recorded", "reproduced"))
    for globs in criteria.hardware:
        fits = any(now == was if g == "recorded" else fnmatchcase(now, g) for g in globs)
        if not fits:
            yield Refusal("hardware", f"hardware class {now} is not one of {', '.join(globs)}")


def hardware_class(hardware: Mapping[str, Any]) -> str:
    """Return a hardware class in words: architecture/capability[/GPU model:SM count …]."""
    listed = hardware.get("gpus")
    gpus = [g for g in listed if isinstance(g, Mapping)] if isinstance(listed, list) else []
    parts = [hardware.get("arch") or "unknown", hardware.get("cpu_capability") or "unknown"]
    return "/".join([*parts, *(f"{g.get('model')}:{g.get('sm_count')}" for g in gpus)])


def exit_code(record: Mapping[str, Any], decision: Decision) -> int:
    """Return the exit code of design section 3 for a record under a policy."""
    outcome = record["outcome"]
    if outcome == Outcome.REPRODUCED:
        return 0 if decision.meets else 5
    if outcome in {Outcome.DIVERGED, Outcome.TAMPERED}:
        return 1
    return 4 if outcome == Outcome.ERROR else 3
