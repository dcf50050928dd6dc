"""recipe.toml -> Recipe, validated where its bytes enter."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from harness.errors import UsageError
from harness.model import Profile, Role, Tolerance, ToleranceRule

RESERVED = ("calibration", "predict")
_SIZES = {"B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_SIZES |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SHELL = re.compile(r"^(&&?|\|\|?|;|[0-9]?>>?.*|<.*)$|\$\(|`")


def size(value: Any) -> Any:
    """Return bytes for `8GiB`, `500 MB` or a whole number."""
    if isinstance(value, str) and (
        m := re.fullmatch(r"\s*([0-9.]+)\s*([KMGT]?i?B)\s*", value, re.I)
    ):
        return int(float(m[1]) * _SIZES[m[2].upper()])
    return value


def seconds(value: Any) -> Any:
    """Return seconds for `2h`, `90m`, `30s` or a number."""
    if isinstance(value, str) and (m := re.fullmatch(r"\s*([0-9.]+)\s*([smhd])\s*", value)):
        return float(m[1]) * _TIMES[m[2]]
    return value


def inside(path: str) -> str:
    """Refuse a path that is absolute, leaves the tree, or carries control characters."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or not path.isprintable():
        raise ValueError("must be a relative path inside the repository, without '..'")
    return path


def output_path(path: str) -> str:
    """Allow `~/…` for HOME besides paths inside the working directory."""
    if path.rstrip("/") in {"", ".", "~", "**"}:
        raise ValueError("must name a file, a folder or a glob below the working directory")
    inside(path.removeprefix("~/"))
    return path


def argv(value: list[str]) -> list[str]:
    """Refuse an empty command and anything that only a shell would understand."""
    if not value or not value[0]:
        raise ValueError('must be a list of words, such as ["python", "train.py"]')
    for word in value:
        if _SHELL.search(word):
            raise ValueError(f"{word!r} needs a shell; put it into a script and name the script")
    if len(value) == 1 and " " in value[0]:
        raise ValueError('is a shell string; write one list item per word: ["python", "train.py"]')
    return value


RelPath = Annotated[str, AfterValidator(inside)]
Bytes = Annotated[int, BeforeValidator(size), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Train(_Wire):
    command: Annotated[list[str], AfterValidator(argv)] | None = None
    stages: list[str] | None = None
    entry_point: str | None = None
    params: dict[str, str | int | float | bool] = {}
    workdir: RelPath = "."
    timeout: Seconds = 7200.0
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    logged_model: str = ""


class _Data(_Wire):
    dvc: list[RelPath] | None = None


class _Environment(_Wire):
    lock: RelPath = "requirements.lock"
    python: Annotated[str, Field(pattern=r"^3\.[0-9]{1,2}$")] = "3.11"
    base: str = ""
    image: str = ""


class _Resources(_Wire):
    cpus: Annotated[float, Field(gt=0, strict=False)] = 2.0
    memory: Bytes = 8 << 30
    output_size: Bytes = 10 << 30
    pids: Annotated[int, Field(gt=0)] = 512
    gpus: Annotated[int, Field(ge=0)] = 0


class _Determinism(_Wire):
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    threads: Annotated[int, Field(gt=0)] | None = None
    level: Literal["off", "seeds", "strict", "entropy"] = "strict"
    isa: Literal["", "avx2", "avx512", "default"] = ""
    clock: str = ""


class _Rule(_Wire):
    match: str = "*"
    rtol: Annotated[Finite, Field(strict=False)] = 0.0
    atol: Annotated[Finite, Field(strict=False)] = 0.0
    ignore: list[str] = []
    rationale: Annotated[str, Field(min_length=1, pattern=r"\S")]


class _Output(_Wire):
    path: Annotated[str, AfterValidator(output_path)]
    role: Annotated[Role, Field(strict=False)] = Role.MODEL
    tolerance: _Rule | None = None
    tolerances: list[_Rule] = []


class _Probe(_Wire):
    inputs: RelPath


class RecipeFile(_Wire):
    """The file as written; its JSON Schema is what editors get."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,127}$")]
    train: _Train
    data: _Data = _Data()
    environment: _Environment = _Environment()
    resources: _Resources = _Resources()
    determinism: _Determinism = _Determinism()
    output: list[_Output] = []
    probe: _Probe | None = None


@dataclass(frozen=True)
class Output:
    """One declared output: a glob, what it is for, and how far it may differ."""

    path: str
    role: Role
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True)
class Recipe:
    """How to train, what goes in, what comes out, which tolerances (design section 5).

    Exactly one of `command`, `stages`, `entry_point` is set; sizes in bytes, `timeout` in seconds.
    """

    name: str
    command: tuple[str, ...]
    stages: tuple[str, ...]
    entry_point: str
    params: dict[str, Any]
    workdir: str
    timeout: float
    env: dict[str, str]
    logged_model: str
    data: tuple[str, ...] | None
    lock: str
    python: str
    base: str
    image: str
    cpus: float
    memory: int
    output_size: int
    pids: int
    gpus: int
    profile: Profile
    outputs: tuple[Output, ...]
    probe: str


def parse(text: str, where: str = "recipe.toml") -> Recipe:
    """Read a recipe.

    Raises: UsageError naming the file, the key and the fix.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{where}: not TOML: {error}", "correct the line named above") from None
    _refuse_reserved(raw, where)
    try:
        wire = RecipeFile.model_validate(raw)
    except ValidationError as error:
        raise UsageError(*_explain(error, where)) from None
    recipe = _convert(wire)
    if sum(map(bool, (recipe.command, recipe.stages, recipe.entry_point))) != 1:
        raise UsageError(
            f"{where}: train: needs exactly one of command, stages, entry_point",
            'for a plain script: command = ["python", "train.py"]',
        )
    return recipe


def _refuse_reserved(raw: dict[str, Any], where: str) -> None:
    for key in RESERVED:
        if key in raw:
            raise UsageError(f"{where}: {key}: not supported yet", f"remove [{key}]")


def _explain(error: ValidationError, where: str) -> tuple[str, str]:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(p) for p in first["loc"]) or "(whole file)"
    if first["type"] == "extra_forbidden":
        return f"{where}: {key}: unknown key", "remove it, or correct its spelling"
    if key.endswith("rationale"):
        return (
            f"{where}: {key}: a tolerance needs a rationale",
            'say why it is right: rationale = "…"',
        )
    if key == "train.command" and isinstance(first.get("input"), str):
        return (
            f"{where}: {key}: is a shell string",
            'write one list item per word: ["python", "train.py"]',
        )
    return f"{where}: {key}: {first['msg'].removeprefix('Value error, ')}", "correct this key"


def _tolerance(output: _Output) -> Tolerance:
    rules = [*output.tolerances, *([output.tolerance] if output.tolerance else [])]
    ignore = tuple(pattern for rule in rules for pattern in rule.ignore)
    kept = tuple(
        ToleranceRule(r.match, r.rtol, r.atol, r.rationale)
        for r in rules
        if r.rtol or r.atol or not r.ignore
    )
    assert all(math.isfinite(r.rtol) and math.isfinite(r.atol) for r in kept)
    return Tolerance(kept, ignore)


def _convert(wire: RecipeFile) -> Recipe:
    train, environment, resources = wire.train, wire.environment, wire.resources
    pins = wire.determinism
    # An unset thread count is pinned from `strict` on, and left alone below it.
    default_threads = None if pins.level in {"off", "seeds"} else 1
    profile = Profile(pins.level, pins.seed, pins.threads or default_threads, pins.isa, pins.clock)
    return Recipe(
        wire.name,
        tuple(train.command or ()),
        tuple(train.stages or ()),
        train.entry_point or "",
        dict(train.params),
        train.workdir,
        train.timeout,
        dict(train.env),
        train.logged_model,
        None if wire.data.dvc is None else tuple(wire.data.dvc),
        environment.lock,
        environment.python,
        environment.base,
        environment.image,
        resources.cpus,
        resources.memory,
        resources.output_size,
        resources.pids,
        resources.gpus,
        profile,
        tuple(Output(o.path, o.role, _tolerance(o)) for o in wire.output),
        wire.probe.inputs if wire.probe else "",
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of recipe.toml for editors."""
    return RecipeFile.model_json_schema(by_alias=True)
