"""Locked packages: fetched by hash as wheels, installed without network into a movable tree."""

from __future__ import annotations

import contextlib
import email.parser
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock
from packaging.utils import canonicalize_name, parse_wheel_filename

from harness.errors import IncompleteLineage, InfrastructureError, SourceUnavailable, Unverifiable
from harness.files import digest, walk, write_atomic
from harness.model import Gap, Package
from harness.runtimes.base import ENV, Sink
from harness.runtimes.indexes import pip_flags
from harness.runtimes.locks import Locked, Target

FORMAT = 1
LOG = "pip.log"
INDEX = "look at this machine's pip or uv settings; the package may have been withdrawn"
EPOCH = 315532800
# What an installer writes about itself or about where the wheel lay, and no training reads.
_VOLATILE = {"direct_url.json", "uv_cache.json", "INSTALLER", "REQUESTED", "RECORD"}

ASKERS = 2
_NEXT = "=== next ===\n"
_ASK = f"""
import json, sys
from pip._internal.cli.main import main
for name in sys.argv[2:]:
    print({_NEXT!r}, end="", flush=True)
    main(["index", "versions", *json.loads(sys.argv[1]), name])
"""


def fetch(locked: tuple[Locked, ...], target: Target, home: Path, sink: Sink) -> tuple[Path, ...]:
    """Return the wheels of a lock from the content-addressed cache, filled where it lacks some.

    The only step with network. pip fetches, so that its own configuration (indexes, links,
    proxy, certificates) holds; what uv is told by its variables is passed on.

    Raises: SourceUnavailable naming the packages that cannot be had with a locked hash.
    """
    store = home / "wheels"
    index = _index(locked, target, store)
    with FileLock(store / ".lock"):
        if (kept := _kept(index, store)) is not None:
            return kept
        sink(f"fetching {len(locked)} packages, wheels only")
        with tempfile.TemporaryDirectory(dir=store) as folder:
            if locked:
                _download(locked, target, Path(folder), sink)
            wheels = _keep(Path(folder), store, {h for p in locked for h in p.hashes})
        write_atomic(index, json.dumps([str(w.relative_to(store)) for w in wheels]).encode())
    return wheels


def missing(locked: tuple[Locked, ...], target: Target, home: Path) -> tuple[Gap, ...]:
    """Return every pin that no index offers for the target any more; downloads no package.

    Whether what is offered still has a locked hash is found out when fetching.
    """
    store = home / "wheels"
    if _kept(_index(locked, target, store), store) is not None:
        return ()
    with ThreadPoolExecutor(ASKERS) as pool:
        parts = [locked[n::ASKERS] for n in range(ASKERS)]
        absent = set().union(*pool.map(lambda part: _absent(part, target), parts))
    return tuple(
        Gap("package", f"{p.name}=={p.version} is offered by no index for this target", INDEX)
        for p in locked
        if p.name in absent
    )


def _absent(packages: tuple[Locked, ...], target: Target) -> set[str]:
    """Return the names that no index offers; one pip asks for all, as starting it is what costs."""
    if not packages:
        return set()
    options = ["--no-input", "--no-color", "--pre", "--disable-pip-version-check"]
    options += ["--only-binary=:all:", *pip_flags(), *_for(target)]
    command = [sys.executable, "-c", _ASK, json.dumps(options), *(p.name for p in packages)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answers = dict(zip((p.name for p in packages), done.stdout.split(_NEXT)[1:], strict=False))
    return {p.name for p in packages if not _offered(p, answers.get(p.name, ""))}


def _offered(package: Locked, answer: str) -> bool:
    found = re.search(r"^Available versions: (.*)$", answer, re.M)
    versions = found[1].split(", ") if found else []
    # A locked `2.13.0` is also met by a local build of it, `2.13.0+cpu`.
    return any(package.version in {v, v.partition("+")[0]} for v in versions)


def _for(target: Target) -> Iterator[str]:
    """Yield what tells pip which interpreter and platform the wheels are for."""
    yield "--implementation=cp"
    yield f"--python-version={target.version}"
    yield f"--abi=cp{target.minor.replace('.', '')}"
    yield from (f"--platform={p}" for p in _platforms(target))


def _index(locked: tuple[Locked, ...], target: Target, store: Path) -> Path:
    """Return the file that lists the wheels of a lock for a target, once they were fetched."""
    wanted = [FORMAT, repr(target), *(p.line() for p in locked)]
    (store / "index").mkdir(parents=True, exist_ok=True)
    return store / "index" / f"{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()}.json"


def _kept(index: Path, store: Path) -> tuple[Path, ...] | None:
    """Return the wheels of an earlier fetch when all of them still have their hash."""
    if not index.exists():
        return None
    wheels = tuple(store / name for name in json.loads(index.read_bytes()))
    whole = all(w.is_file() and digest(w)[0] == w.parent.name for w in wheels)
    return wheels if whole else None


def _platforms(target: Target) -> Iterator[str]:
    major, _, minor = target.glibc.partition(".")
    for n in range(int(minor or 17), 4, -1):
        yield f"manylinux_{major}_{n}_{target.machine}"
    for name in ("manylinux2014", "manylinux2010", "manylinux1", "linux"):
        yield f"{name}_{target.machine}"


def _download(packages: tuple[Locked, ...], target: Target, folder: Path, sink: Sink) -> None:
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join(p.line() for p in packages) + "\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--progress-bar=off", "--no-input", "--no-color"]
    command += [f"--log={folder / LOG}"]
    command += ["--disable-pip-version-check", "-d", str(folder)]
    command += [*_for(target), *pip_flags(), "-r", str(wanted)]
    lines = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            if "is ignored: it is neither" not in line:
                lines.append(line.rstrip())
                sink(line.rstrip())
    if process.returncode:
        raise _refused(lines, (folder / LOG).read_text(errors="replace"))


def _refused(lines: list[str], log: str) -> Unverifiable:
    text = "\n".join(lines)
    hint = "pip's configuration names the indexes; a package may have been withdrawn"
    if "DO NOT MATCH THE HASHES" in text:
        found = re.search(r"^\s+(\S+) from ", text, re.M)
        name = found[1] if found else "a package"
        reason = f"{name}: what the index has no longer has a locked sha256"
    elif found := re.search(
        r"(?:No matching distribution found for|satisfies the requirement) (\S+)", text
    ):
        name, _, version = (re.escape(part) for part in found[1].partition("=="))
        sources = rf"No sources permitted for \S+ \S*/{name}-{version}\.(?:tar|zip)"
        if re.search(sources.replace(r"\-", "[-_.]"), log, re.IGNORECASE):
            reason = f"{found[1]}: has no wheel for this target, only a source distribution"
            return IncompleteLineage(reason, hint="lock a version that has wheels, or publish one")
        reason = f"{found[1]}: no wheel with a locked version for this target can be had"
    else:
        reason = "the packages cannot be fetched: " + " ".join(
            line for line in lines[-4:] if "WARNING" not in line
        )
    return SourceUnavailable(reason, (reason,), hint)


def _keep(folder: Path, store: Path, allowed: set[str]) -> tuple[Path, ...]:
    """Move wheels to their places in the cache, each proved by its hash once more."""
    kept = []
    for wheel in sorted(folder.glob("*.whl")):
        name = digest(wheel)[0]
        if f"sha256:{name}" not in allowed:
            raise SourceUnavailable(f"{wheel.name}: its sha256 is not in the lock")
        place = store / name
        place.mkdir(exist_ok=True)
        wheel.replace(place / wheel.name)
        (place / wheel.name).chmod(0o444)
        kept.append(place / wheel.name)
    return tuple(kept)


def assemble(wheels: Iterable[Path], executable: str, version: str, out: Path, home: Path) -> None:
    """Install wheels without network into `out`, a virtual environment that may lie anywhere.

    `executable` is the interpreter's path where the tree will be used, `version` its full
    version. The same wheels give the same bytes, modes and times, whatever the machine.
    """
    minor = ".".join(version.split(".")[:2])
    site = out / "lib" / f"python{minor}" / "site-packages"
    site.mkdir(parents=True)
    _install(tuple(wheels), minor, site, home)
    _scripts(site, out / "bin")
    for info in site.glob("*.dist-info"):
        _record(info)
    for cache in list(site.rglob("__pycache__")):
        shutil.rmtree(cache)
    _interpreter(out, executable, version)
    _clamp(out)


def _record(info: Path) -> None:
    """Take out of a distribution's metadata what names an installer, a machine or a script."""
    record = info / "RECORD"
    lines = record.read_text().splitlines() if record.exists() else []
    kept = [n for n in lines if n.split(",")[0].rpartition("/")[2] not in _VOLATILE]
    for name in _VOLATILE:
        (info / name).unlink(missing_ok=True)
    (info / "INSTALLER").write_text("repro-harness\n")
    own = [f"{info.name}/{name},," for name in ("INSTALLER", "RECORD")]
    kept = sorted(n for n in [*kept, *own] if not n.startswith("bin/"))
    record.write_text("".join(f"{n}\n" for n in kept))


def _install(wheels: tuple[Path, ...], minor: str, site: Path, home: Path) -> None:
    if not wheels:
        return
    with tempfile.TemporaryDirectory(dir=site.parents[2]) as folder:
        links = Path(folder, "wheels")
        links.mkdir()
        pins = []
        for wheel in wheels:
            name, found, _, _ = parse_wheel_filename(wheel.name)
            pins.append(f"{name}=={found}")
            (links / wheel.name).symlink_to(wheel.resolve())
        wanted = Path(folder, "pins.txt")
        wanted.write_text("\n".join(pins) + "\n")
        command = [sys.executable, "-m", "uv", "pip", "install", "-q", "--offline", "--no-index"]
        command += ["--no-config", "--no-deps", "--find-links", str(links), "--link-mode=copy"]
        command += ["--no-compile-bytecode", "--no-build", f"--python-version={minor}"]
        command += ["--target", str(site), "-r", str(wanted)]
        command += ["--cache-dir", str(home / "uv")]
        env = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "VIRTUAL_ENV"))}
        env["UV_PYTHON"] = sys.executable
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InfrastructureError(
            f"the locked packages cannot be installed: {done.stderr.strip()[-800:]}",
            "harness doctor; a lock that is not complete also ends here",
        )


def _scripts(site: Path, bin_folder: Path) -> None:
    """Move console scripts to bin/, pointed at the interpreter's fixed place in the sandbox."""
    bin_folder.mkdir(exist_ok=True)
    found = site / "bin"
    for script in sorted(found.iterdir()) if found.is_dir() else ():
        content = script.read_bytes()
        if content.startswith(b"#!") and b"python" in content[:300]:
            shebang = re.compile(rb"\A#!/bin/sh\n'''exec' .*?\n' '''\n|\A#![^\n]*\n", re.S)
            content = shebang.sub(f"#!{ENV}/bin/python\n".encode(), content, count=1)
        (bin_folder / script.name).write_bytes(content)
        (bin_folder / script.name).chmod(0o755)
    if found.is_dir():
        shutil.rmtree(found)


def _interpreter(out: Path, executable: str, version: str) -> None:
    minor = ".".join(version.split(".")[:2])
    for name in ("python", "python3", f"python{minor}"):
        (out / "bin" / name).symlink_to(executable)
    home = os.path.dirname(executable)  # noqa: PTH120  (a path of the target, not of this machine)
    (out / "pyvenv.cfg").write_text(
        f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"
    )


def _clamp(root: Path) -> None:
    for folder, folders, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
        for name in folders:
            with contextlib.suppress(OSError):
                Path(folder, name).chmod(0o755)
                os.utime(Path(folder, name), (EPOCH, EPOCH))


def content_digest(tree: Path) -> str:
    """Return the sha256 over (path, executable bit, sha256) of every installed file, sorted.

    What names the interpreter's place (links, pyvenv.cfg) is left out: the same lock gives the
    same digest under every runtime.
    """
    total = hashlib.sha256()
    for path in walk(tree):
        if path == "pyvenv.cfg" or "__pycache__" in path:
            continue
        file = tree / path
        mode = "x" if file.stat().st_mode & 0o100 else "-"
        total.update(f"{path}\0{mode}\0{digest(file)[0]}\n".encode())
    return total.hexdigest()


def inventory(tree: Path) -> tuple[Package, ...]:
    """Return name and version of every installed distribution, by name."""
    found = {}
    for path in tree.glob("lib/python*/site-packages/*.dist-info/METADATA"):
        head = email.parser.HeaderParser().parsestr(path.read_text(errors="replace"))
        name = canonicalize_name(head.get("Name") or path.parent.name)
        found[name] = Package(name, head.get("Version") or "")
    return tuple(found[name] for name in sorted(found))
