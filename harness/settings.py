"""Flags > environment > harness.toml > defaults -> one frozen Settings that knows its origins."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UsageError

FILE = "harness.toml"
RUNTIMES = ("", "docker", "venv")
_ENVIRONMENT = {
    "home": ("HARNESS_HOME",),
    "registry": ("HARNESS_REGISTRY", "MLFLOW_TRACKING_URI"),
    "runtime": ("HARNESS_RUNTIME",),
    "policy": ("HARNESS_POLICY",),
    "trust": ("HARNESS_TRUST",),
    "base": ("HARNESS_BASE",),
    "output_dir": ("HARNESS_OUTPUT_DIR",),
    "key": ("HARNESS_KEY_FILE",),
}
_PATHS = {"home", "policy", "trust", "output_dir", "key"}


@dataclass(frozen=True)
class Settings:
    """What one command works with.

    `registry` is an MLflow URI, `home` the folder of state and caches, `runtime` empty for the
    first that can be used here, `policy` and `trust` None for the built-in ones, `base` the
    operator's base image, `sources` permitted addresses by remote name or URL prefix, `adapters`
    the third-party adapters that may be loaded, `key` a private key file to sign with instead of
    this machine's own.
    """

    registry: str
    home: Path
    runtime: str
    policy: Path | None
    trust: Path | None
    base: str
    output_dir: Path
    sources: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    key: Path | None = None

    def origin(self, name: str) -> str:
        """Return where a value comes from: a flag, a variable, a file, or the default."""
        return self.origins.get(name, "default")


def load(flags: Mapping[str, Any], folder: Path | None = None) -> Settings:
    """Return the settings of one command.

    Raises: UsageError naming the file and the key that is wrong.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = _find(folder or Path.cwd())
    if path is not None:
        for key, value in _read(path).items():
            values[key], origins[key] = value, str(path)
    for key, names in _ENVIRONMENT.items():
        name = next((n for n in names if os.environ.get(n)), None)
        if name is not None:
            values[key], origins[key] = os.environ[name], f"${name}"
    for key, value in flags.items():
        if value not in (None, ""):
            values[key], origins[key] = value, f"--{key.replace('_', '-')}"
    return _settings(values, origins)


def _settings(values: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    def path(key: str) -> Path | None:
        return Path(values[key]).expanduser().absolute() if values.get(key) else None

    home = path("home") or _default_home()
    runtime = str(values.get("runtime", ""))
    if runtime not in RUNTIMES:
        raise UsageError(f"{origins.get('runtime')}: runtime {runtime!r}", "one of: docker, venv")
    registry = str(values.get("registry") or f"sqlite:///{home / 'mlflow.db'}")
    if registry.startswith(("databricks", "uc:")) or "://" not in registry:
        raise UsageError(
            f"{origins.get('registry', 'default')}: registry {registry!r} is not supported",
            "use sqlite:///path or the http(s) URL of an MLflow server",
        )
    return Settings(
        registry,
        home,
        runtime,
        path("policy"),
        path("trust"),
        str(values.get("base", "")),
        path("output_dir") or home / "reports",
        dict(values.get("sources", {})),
        tuple(values.get("adapters", ())),
        dict(origins),
        path("key"),
    )


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("repro-harness")


def _find(folder: Path) -> Path | None:
    if named := os.environ.get("HARNESS_CONFIG"):
        if not Path(named).is_file():
            raise UsageError(f"$HARNESS_CONFIG: {named}: no such file", "correct the variable")
        return Path(named)
    found = next((p / FILE for p in (folder, *folder.parents) if (p / FILE).is_file()), None)
    if found is not None and _of_a_repository(found.absolute().parent):
        raise UsageError(
            f"{found}: lies in a repository, which does not choose policy, trust or adapters",
            f"if it is yours, set HARNESS_CONFIG={found} to use it; else remove it",
        )
    return found


def _of_a_repository(folder: Path) -> bool:
    """Return whether a folder is part of a git work tree, or of a training repository's copy.

    Whoever clones one and works inside it has not agreed to settings that came with it.
    """
    inside = any((p / ".git").exists() for p in (folder, *folder.parents))
    return inside or (folder / "recipe.toml").exists()


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}", "correct the line named above") from None
    kinds: dict[str, tuple[Callable[[Any], bool], str]] = {
        **{k: (lambda v: isinstance(v, str), "a string") for k in _ENVIRONMENT},
        "sources": (_strings, "a table of strings"),
        "adapters": (
            lambda v: isinstance(v, list) and all(isinstance(i, str) for i in v),
            "a list",
        ),
    }
    for key, value in raw.items():
        if key not in kinds:
            raise UsageError(f"{path}: {key}: unknown key", f"one of: {', '.join(sorted(kinds))}")
        fits, what = kinds[key]
        if not fits(value):
            raise UsageError(f"{path}: {key}: must be {what}", "correct this key")
        if key in _PATHS:
            raw[key] = str(path.parent / Path(value).expanduser())
    return raw


def _strings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
