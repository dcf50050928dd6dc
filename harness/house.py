"""The adapters that a command needs, made from the settings; the only reader of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness import code, data, policy, policyfile, registries, reporters, runtimes
from harness.attestations import files, keys
from harness.attestations.dsse import BadEvidence
from harness.errors import UsageError
from harness.evidence import Signing
from harness.executor import Parts
from harness.model import Version
from harness.progress import Progress
from harness.record import canonical, digest
from harness.registries.base import Registry
from harness.settings import Settings
from harness.tables import load


@dataclass(frozen=True)
class House:
    """Everything that one command needs, made from the settings on first use."""

    settings: Settings
    progress: Progress

    @property
    def home(self) -> Path:
        """Return the folder of state and caches."""
        return self.settings.home

    def registry(self) -> Registry:
        """Return the registry adapter."""
        made: Registry = self.load(registries, "mlflow")(self.settings.registry, self.home)
        return made

    def parts(self, origin: str = "") -> Parts:
        """Return the adapters of a line; `origin` is where the code comes from."""
        return Parts(
            self.registry(),
            self.load(code, "git")(self.home),
            self.load(data, "dvc")(self.home, self.settings.sources, origin=_local_path(origin)),
            self.runtime(),
            self.progress,
        )

    def runtime(self) -> Any:
        """Return the runtime that was asked for, else the first that this machine can use."""
        names = [self.settings.runtime] if self.settings.runtime else list(runtimes.TABLE)
        why: list[str] = []
        for name in names:
            made = self.make_runtime(name)
            state = made.available()
            if state.ok:
                if why:
                    self.progress.note(f"runtime {name}, since {'; '.join(why)}")
                made.reap()
                return made
            why.append(f"{name}: {state.detail[:80]}")
        raise UsageError(f"no runtime can be used here: {'; '.join(why)}", state.fix)

    def make_runtime(self, name: str) -> Any:
        """Return a runtime adapter, whether or not this machine can use it."""
        if name == "venv":
            return self.load(runtimes, name)(self.home, allow_unsandboxed=not self.sandbox_only())
        return self.load(runtimes, name)(self.home, self.settings.base)

    def sandbox_only(self) -> bool:
        """Return whether the policy refuses a run without a sandbox."""
        return self.policy().base.sandbox == "required"

    def policy(self) -> policy.Policy:
        """Return the operator's policy, else the built-in one.

        Raises: BadEvidence when the trust file names who signs policies, and none of them did.
        """
        path = self.settings.policy
        trust = keys.read_trust(self.trust_file())
        signed = any("policy" in key.roles for key in trust.keys)
        if path is None:
            if signed:
                raise BadEvidence(
                    f"{trust.where} names who signs the policy, and no policy is configured",
                    "name the signed policy.toml: HARNESS_POLICY or --policy",
                )
            return policyfile.built_in()
        try:
            content = path.read_bytes()
            if signed:
                files.verify_file(content, self._signed(path), trust)
            return policyfile.parse(content.decode(), str(path))
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", "name a policy.toml") from None
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: not UTF-8: {error}", "save it as UTF-8") from None

    def _signed(self, path: Path) -> bytes:
        if (found := self.signature_of(path)) is None:
            raise BadEvidence(f"{path}: not signed", f"harness keys sign {path}")
        return found

    def signature_of(self, path: Path) -> bytes | None:
        """Return the statement that lies beside a file of the operator, if there is one."""
        beside = path.with_name(f"{path.name}.intoto.json")
        return beside.read_bytes() if beside.is_file() else None

    def signing(self) -> Signing:
        """Return our key, made on first use, and whom we trust.

        Raises: UsageError when a trust file is configured and is not there: nothing would be
        trusted, and a verdict would say so of the model.
        """
        named = self.settings.trust
        if named is not None and not named.exists():
            raise UsageError(
                f"{self.settings.origin('trust')}: {named}: no such trust file",
                "correct it, or harness keys trust makes it",
            )
        key = keys.local(self.home, self.progress.note, self.settings.key)
        return Signing(key, keys.read_trust(self.trust_file()), self.home / "records")

    def trust_file(self) -> Path:
        """Return the operator's trust file, else this machine's own."""
        return self.settings.trust or self.home / "trust.toml"

    def reporters(self) -> dict[str, Any]:
        """Return every reporter by name."""
        return {name: self.load(reporters, name)() for name in reporters.TABLE}

    def load(self, family: Any, name: str) -> Any:
        """Return an adapter class of a family."""
        return load(family.TABLE, name, group=family.GROUP, allowed=self.settings.adapters)

    @contextmanager
    def alone(self, version: Version) -> Iterator[None]:
        """Hold the version's lock: two verifications of it on one host wait for each other."""
        name = digest(canonical(version))[:24]
        folder = self.home / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.progress.note(f"another verification of {version.uri} runs here; waiting for it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _local_path(url: str) -> Path | None:
    path = Path(url.removeprefix("file://"))
    return path if path.is_dir() else None
