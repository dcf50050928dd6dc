"""Build the base image from Debian packages that a lock names by hash; needs root and apt.

The same lock gives the same image id on every machine: every package is checked against its
hash, debootstrap sees nothing but those packages, and what names a machine or a time is removed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.runtimes import oci

HERE = Path(__file__).resolve().parent
TAG = "repro-harness/base:python3.11"
SUITE = "bookworm"
# Later than any package's files, so that clamping touches only what the build itself wrote.
EPOCH = 1790000000
WANTED = ("python3", "libgomp1", "ca-certificates")
EXCLUDED_TREES = (
    "var/log", "var/cache/apt", "var/lib/apt/lists", "var/cache/debconf", "var/cache/ldconfig",
    "tmp", "run", "dev", "debootstrap", "usr/share/doc", "usr/share/man", "usr/share/locale",
)  # fmt: skip
EXCLUDED_FILES = (
    "etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "etc/.pwd.lock",
    "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed", "var/lib/dpkg/status-old", "var/lib/dpkg/diversions-old",
)  # fmt: skip


@dataclass(frozen=True)
class Locked:
    """One Debian package: name, version, architecture and the sha256 of its .deb."""

    name: str
    version: str
    architecture: str
    sha256: str


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a tool and return what it says; its own last lines are the error."""
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        sys.exit(f"{command[0]} failed with status {done.returncode}:\n{tail}")
    return done.stdout


def read_lock(path: Path) -> list[Locked]:
    """Return the packages of a lock, one `name version architecture sha256` a line."""
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    return [Locked(*fields) for fields in lines if fields]


def fetch(package: Locked, cache: Path) -> Path:
    """Return the .deb of a locked package from the cache or apt, its hash verified."""
    path = cache / f"{package.sha256}.deb"
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            wanted = f"{package.name}:{package.architecture}={package.version}"
            wanted = wanted.replace(":all=", "=")
            done = subprocess.run(
                ["apt-get", "download", "-q", wanted],
                cwd=folder, capture_output=True, text=True, check=False,
            )  # fmt: skip
            found = list(Path(folder).glob("*.deb"))
            if done.returncode or not found:
                sys.exit(
                    f"{package.name} {package.version} of packages.lock is no longer offered by "
                    f"this machine's apt sources ({done.stderr.strip()[:300]})\n"
                    "  next: apt-get update; if it is gone for good, `build.py --relock` and "
                    "commit the new lock (models recorded on the old base need its archive), or "
                    "point apt at a snapshot mirror that still has it"
                )
            shutil.move(found[0], path)
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        path.unlink()
        sys.exit(f"{package.name} {package.version}: the .deb does not have its locked hash")
    return path


def repository(debs: Sequence[Path], folder: Path) -> None:
    """Lay out a local archive that holds nothing but the locked packages."""
    pool, index = folder / "pool", folder / f"dists/{SUITE}/main/binary-amd64"
    pool.mkdir(parents=True)
    index.mkdir(parents=True)
    stanzas = []
    for deb in debs:
        shutil.copy(deb, pool / deb.name)
        control = run("dpkg-deb", "-f", str(deb)).strip()
        # Nothing is left to a priority: what is installed is what is locked.
        control = re.sub(r"(?m)^Priority:.*$", "Priority: required", control)
        stanzas.append(
            f"{control}\nFilename: pool/{deb.name}\nSize: {deb.stat().st_size}\n"
            f"SHA256: {deb.stem}\n"
        )
    packages = "".join(f"{s}\n" for s in stanzas).encode()
    (index / "Packages").write_bytes(packages)
    digest = hashlib.sha256(packages).hexdigest()
    (folder / f"dists/{SUITE}/Release").write_text(
        f"Origin: lock\nSuite: stable\nCodename: {SUITE}\nComponents: main\nArchitectures: amd64\n"
        f"SHA256:\n {digest} {len(packages)} main/binary-amd64/Packages\n"
    )


def tidy(root: Path) -> None:
    """Remove what names a machine or a time, and what no training needs."""
    for name in EXCLUDED_TREES:
        for path in sorted((root / name).glob("*")):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in EXCLUDED_FILES:
        (root / name).unlink(missing_ok=True)
    for path in [*root.rglob("__pycache__")]:  # marshalled code is not the same in every build
        shutil.rmtree(path)
    shadow = root / "etc/shadow"
    shadow.write_text(re.sub(r"(?m)^([^:]*:[^:]*):\d+:", r"\1:0:", shadow.read_text()))
    for folder in ("run/lock", "harness"):
        (root / folder).mkdir(exist_ok=True)


def build(lock: Path, cache: Path, output: Path) -> str:
    """Write the image's archive and return its id."""
    cache.mkdir(parents=True, exist_ok=True)
    debs = [fetch(package, cache) for package in read_lock(lock)]
    with tempfile.TemporaryDirectory(prefix="harness-base-") as folder:
        root, mirror = Path(folder, "rootfs"), Path(folder, "mirror")
        repository(debs, mirror)
        run("debootstrap", "--no-check-gpg", "--variant=minbase", f"--include={','.join(WANTED)}",
            SUITE, str(root), f"file://{mirror}")  # fmt: skip
        tidy(root)
        below = oci.Platform("amd64", "linux", ("PATH=/usr/local/bin:/usr/bin:/bin",))
        layer = oci.layer(root, times=oci.Times(EPOCH, clamp=True))
        config = oci.image_config(below, [layer], {"Cmd": ["python3"]}, "debootstrap from a lock")
        diff_id = f"sha256:{layer.sha256}"
        with output.open("wb") as file:
            file.writelines(oci.archive(config, [diff_id], {diff_id: layer}, TAG))
    return f"sha256:{oci.blob(config).sha256}"


def relock(lock: Path) -> None:
    """Write a lock of what apt offers today for the wanted packages and all that they need."""
    with tempfile.TemporaryDirectory() as folder:
        include = f"--include={','.join(WANTED)}"
        printed = run("debootstrap", "--print-debs", "--variant=minbase", include, SUITE, folder)
    names = sorted(set(printed.split()))
    fields = re.compile(r"(?m)^(Package|Version|Architecture|SHA256): (.*)$")
    lines = ["# name version architecture sha256; written by `build.py --relock`"]
    shown = run("apt-cache", "show", "--no-all-versions", *names)
    for stanza in shown.strip().split("\n\n"):
        found = dict(fields.findall(stanza))
        keys = ("Package", "Version", "Architecture", "SHA256")
        lines.append(" ".join(found[key] for key in keys))
    lock.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Build, or refresh the lock, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("harness-base.tar"))
    parser.add_argument("--lock", type=Path, default=HERE / "packages.lock")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache/harness-base")
    parser.add_argument("--relock", action="store_true", help="refresh the lock from apt")
    parser.add_argument("--load", action="store_true", help="load the image into the engine")
    args = parser.parse_args()
    if args.relock:
        relock(args.lock)
        return
    image = build(args.lock, args.cache, args.output)
    if args.load:
        run("docker", "load", "-i", str(args.output))
    print(image)


if __name__ == "__main__":
    main()
