"""The operator's acceptance criteria: policy.toml -> Policy, and what it makes of a record."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.model import Decision, Grade, Outcome
from harness.record import canonical, digest

BUILT_IN = "harness:built-in-policy"


class _Caps(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rtol: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
    atol: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2


class PolicyFile(BaseModel):
    """policy.toml as written."""

    model_config = ConfigDict(extra="forbid")
    schema_: Annotated[Literal[1], Field(alias="schema")]
    minimum_grade: Grade = Grade.TOLERANCE
    caps: _Caps = _Caps()
    sandbox: Literal["any", "required"] = "any"
    runtimes: list[str] = []
    reruns: Annotated[int, Field(ge=0, le=10)] = 1


@dataclass(frozen=True)
class Policy:
    """Acceptance criteria with their own digest.

    `sandbox` is `any` or `required`; `runtimes` empty means any; `reruns` is how many diagnostic
    reruns a difference gets; `max_rtol` and `max_atol` cap the tolerances that a recipe declares.
    """

    uri: str
    digest: str
    minimum_grade: Grade
    max_rtol: float
    max_atol: float
    sandbox: str
    runtimes: tuple[str, ...]
    reruns: int


def built_in() -> Policy:
    """Return the default: TOLERANCE or better, numeric caps, any runtime, one diagnostic rerun."""
    return _convert(PolicyFile.model_validate({"schema": 1}), BUILT_IN)


def parse(text: str, where: str = "policy.toml") -> Policy:
    """Read a policy.

    Raises: UsageError naming the file, the key and the fix; an empty policy is refused.
    """
    try:
        raw = tomllib.loads(text)
        wire = PolicyFile.model_validate(raw)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not TOML: {error}", "correct the line named above") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(p) for p in first["loc"])
        raise UsageError(f"{where}: {key}: {first['msg']}", "correct this key") from None
    if len(raw) < 2:
        raise UsageError(f"{where}: asks for nothing", "state at least minimum_grade")
    return _convert(wire, where)


def _convert(wire: PolicyFile, uri: str) -> Policy:
    return Policy(
        uri,
        digest(canonical(wire.model_dump(mode="json", by_alias=True))),
        wire.minimum_grade,
        wire.caps.rtol,
        wire.caps.atol,
        wire.sandbox,
        tuple(wire.runtimes),
        wire.reruns,
    )


def decide(policy: Policy, record: Mapping[str, Any]) -> Decision:
    """Return whether a record meets the policy, with every reason why not."""
    reasons = tuple(_refusals(policy, record))
    return Decision(not reasons, reasons, policy.digest)


def _refusals(policy: Policy, record: Mapping[str, Any]) -> Iterator[str]:
    if record["outcome"] != Outcome.REPRODUCED:
        yield f"the outcome is {record['outcome']}"
        return
    grade = Grade(record["grade"])
    if not grade.meets(policy.minimum_grade):
        yield f"grade {grade} is below {policy.minimum_grade}"
    for run in record.get("runs", ()):
        if policy.sandbox == "required" and run.get("sandbox") == "none":
            yield "a run was not sandboxed"
    runtime = record.get("environment", {}).get("reproduced", {}).get("runtime", "")
    if policy.runtimes and runtime not in policy.runtimes:
        yield f"runtime {runtime or 'unknown'} is not one of {', '.join(policy.runtimes)}"
    for artifact in record.get("artifacts", ()):
        d = artifact.get("distances") or {}
        if float(d.get("rtol", 0)) > policy.max_rtol or float(d.get("atol", 0)) > policy.max_atol:
            yield f"{artifact['path']}: its tolerance is wider than the policy's caps"


def exit_code(record: Mapping[str, Any], decision: Decision) -> int:
    """Return the exit code of design section 3 for a record under a policy."""
    outcome = record["outcome"]
    if outcome == Outcome.REPRODUCED:
        return 0 if decision.meets else 5
    if outcome in {Outcome.DIVERGED, Outcome.TAMPERED}:
        return 1
    return 4 if outcome == Outcome.ERROR else 3
