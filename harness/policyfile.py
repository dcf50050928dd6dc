"""policy.toml -> Policy: validated where the bytes enter, so that nothing passes vacuously."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.model import Grade, Stage
from harness.policy import BUILT_IN, STAGED, WAIVABLE, Criteria, Policy, Rule
from harness.record import canonical, digest

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_CONFIG = ConfigDict(extra="forbid")
Bound = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]


def _duration(text: str) -> str:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if not found:
        raise ValueError("write a time such as 30d, 12h or 4w")
    return text


def _known(codes: list[str]) -> list[str]:
    # `lineage:GLOB` lets only those gaps be waived whose words fit the glob.
    if unknown := sorted({c.partition(":")[0] for c in codes} - set(WAIVABLE)):
        raise ValueError(f"{', '.join(unknown)} cannot be waived; one of {', '.join(WAIVABLE)}")
    return codes


class _Caps(BaseModel):
    model_config = _CONFIG
    rtol: Bound | None = None
    atol: Bound | None = None


class _Criteria(BaseModel):
    """What both the file itself and its rules may state."""

    model_config = _CONFIG
    minimum_grade: Grade | None = None
    caps: _Caps | None = None
    sandbox: Literal["any", "required"] | None = None
    runtimes: Names | None = None
    hardware: Names | None = None
    max_age: Annotated[str, AfterValidator(_duration)] | None = None
    verifiers: Annotated[int, Field(ge=1, le=100)] | None = None
    distinct_hosts: bool | None = None
    agreeing_runs: Annotated[int, Field(ge=1, le=100)] | None = None


class _Rule(_Criteria):
    models: Names = ["*"]
    stages: Annotated[list[Stage], Field(min_length=1)] = list(STAGED)
    approvals: Annotated[int, Field(ge=0, le=20)] | None = None
    four_eyes: bool | None = None
    approvers: Names | None = None
    waivable: Annotated[Names, AfterValidator(_known)] | None = None
    waivers_by: Names | None = None
    inconclusive: Literal["block", "waivable"] | None = None
    rehash: bool | None = None


class PolicyFile(_Criteria):
    """policy.toml as written."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    reruns: Annotated[int, Field(ge=0, le=10)] = 1
    rule: list[_Rule] = []


def built_in() -> Policy:
    """Return the default: TOLERANCE or better, numeric caps, any runtime, one diagnostic rerun."""
    return parse('schema = 1\nminimum_grade = "TOLERANCE"\n', BUILT_IN)


def parse(text: str, where: str = "policy.toml") -> Policy:
    """Read a policy.

    Raises: UsageError naming the file, the key and the fix; an empty or contradictory policy is
    refused, since everything would pass it, or nothing could.
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
    if not set(raw) - {"schema", "reruns"}:
        raise UsageError(f"{where}: asks for nothing", "state at least minimum_grade")
    base = Criteria(**_stated(wire, one_hardware=True))
    for problem in _contradictions(wire, base):
        raise UsageError(f"{where}: {problem}", "correct one of the two")
    return Policy(
        where,
        digest(canonical(wire.model_dump(mode="json", by_alias=True))),
        text,
        base,
        wire.reruns,
        tuple(Rule(tuple(r.models), tuple(r.stages), _stated(r)) for r in wire.rule),
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of policy.toml for editors."""
    return PolicyFile.model_json_schema(by_alias=True)


def _stated(wire: _Criteria, *, one_hardware: bool = False) -> dict[str, Any]:
    """Return the criteria that are written down, under the names that `Criteria` has."""
    found: dict[str, Any] = {}
    for name in wire.model_fields_set - {"models", "stages", "schema_", "reruns", "rule"}:
        value = getattr(wire, name)
        if value is None:
            continue
        if name == "caps":
            found |= {f"max_{k}": getattr(value, k) for k in value.model_fields_set}
        elif name == "max_age":
            found[name] = int(value[:-1]) * _UNITS[value[-1]]
        elif name == "inconclusive":
            continue
        else:
            found[name] = tuple(value) if isinstance(value, list) else value
    if one_hardware and "hardware" in found:
        found["hardware"] = (found["hardware"],)
    if getattr(wire, "inconclusive", None) == "waivable":
        found["waivable"] = tuple(sorted({*found.get("waivable", ()), "inconclusive"}))
    return found


def _contradictions(wire: PolicyFile, base: Criteria) -> Iterator[str]:
    """Yield what cannot be meant: criteria that cancel each other, rules that change nothing."""
    yield from _of_criteria(wire, "")
    for number, rule in enumerate(wire.rule, 1):
        at = f"rule {number}: "
        if not rule.model_fields_set - {"models", "stages"}:
            yield f"{at}asks for nothing"
        if not set(rule.stages) <= set(STAGED):
            yield f"{at}stages are Staging and Production; the file itself speaks for Development"
        if rule.sandbox == "any":
            yield f"{at}sandbox 'any': above Development a run is always sandboxed"
        if rule.minimum_grade and not rule.minimum_grade.meets(base.minimum_grade):
            yield f"{at}{rule.minimum_grade} is weaker than the file's {base.minimum_grade}"
        if rule.runtimes and base.runtimes and not set(rule.runtimes) & set(base.runtimes):
            yield f"{at}runtimes: none of them is among the file's own"
        yield from _of_criteria(rule, at)
        yield from _of_approvals(rule, at)
    for (i, a), (j, b) in combinations(enumerate(wire.rule, 1), 2):
        meet = set(a.stages) & set(b.stages) and set(a.models) & set(b.models)
        for key in ("runtimes", "approvers", "waivers_by", "waivable"):
            one, two = getattr(a, key), getattr(b, key)
            if meet and one and two and not set(one) & set(two):
                yield f"rules {i} and {j}: {key} exclude each other for the same models"


def _of_criteria(wire: _Criteria, at: str) -> Iterator[str]:
    if wire.distinct_hosts and (wire.verifiers or 1) < 2:
        yield f"{at}distinct_hosts needs verifiers = 2 or more"


def _of_approvals(rule: _Rule, at: str) -> Iterator[str]:
    approvals = rule.approvals or 0
    if not approvals and (rule.approvers or rule.four_eyes):
        yield f"{at}approvers or four_eyes without approvals = 1 or more"
    if rule.approvers and len({a.casefold() for a in rule.approvers}) < approvals:
        yield f"{at}{approvals} approvals cannot come from {len(rule.approvers)} approvers"
    codes = {c.partition(":")[0] for c in rule.waivable or ()}
    if rule.inconclusive == "block" and "inconclusive" in codes:
        yield f"{at}inconclusive is 'block' and waivable"
    if rule.waivers_by and not codes and rule.inconclusive != "waivable":
        yield f"{at}waivers_by without anything waivable"
