"""Wheels laid out as an environment tree: the same wheels give the same bytes on every machine.

Installing a wheel is unpacking an archive, so it is done here: no build code, no network, no
bytecode, no file that names a machine or a time.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from harness import files
from harness.errors import UsageError
from harness.model import Package, Role
from harness.runtimes import base
from harness.runtimes.oci import EPOCH

CHUNK = 1 << 20
UNPACKED_LIMIT = 64 << 30
SHEBANG = f"#!{base.ENV}/bin/python\n".encode()
VOLATILE = {"RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json",
            "uv_cache.json"}  # fmt: skip
SCRIPT = """import sys
from {module} import {first}
if __name__ == "__main__":
    sys.exit({call}())
"""
NAME = re.compile(r"[A-Za-z0-9_.+-]+")
OBJECT = re.compile(r"\s*([\w.]+)\s*:\s*([\w.]+)\s*(\[.*\])?\s*")


@dataclass
class _Tree:
    """An environment tree while it is written."""

    out: Path
    minor: str
    record: list[str] = field(default_factory=list)

    @property
    def site(self) -> PurePosixPath:
        return PurePosixPath(f"lib/python{self.minor}/site-packages")

    def write(self, path: PurePosixPath, chunks: Iterable[bytes], executable: bool) -> None:
        """Write a file, and its line for the distribution's RECORD."""
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        digest, size = hashlib.sha256(), 0
        with target.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        target.chmod(0o755 if executable else 0o644)
        encoded = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
        shown = os.path.relpath(path, self.site)
        self.record.append(f"{shown},sha256={encoded},{size}")


def assemble(wheels: Iterable[Path], executable: str, version: str, out: Path) -> None:
    """Write the environment tree of `wheels` at `out`, which must not exist.

    `executable` is the interpreter's path where the tree will be used, `version` its full one.
    Raises: UsageError for a wheel that is none, or that would write outside of the tree.
    """
    out.mkdir(parents=True)
    tree = _Tree(out, ".".join(version.split(".")[:2]))
    (out / tree.site).mkdir(parents=True)
    for wheel in sorted(wheels, key=lambda w: w.name):
        try:
            with zipfile.ZipFile(wheel) as archive:
                _install(tree, archive, wheel.name)
        except (zipfile.BadZipFile, configparser.Error, OSError, EOFError, ValueError) as error:
            msg = f"wheel {wheel.name} cannot be installed: {error}"
            raise UsageError(msg, "lock another build of this package") from error
    _interpreter(out, executable, version, tree.minor)
    _clamp(out)


def _interpreter(out: Path, executable: str, version: str, minor: str) -> None:
    binaries = out / "bin"
    binaries.mkdir(exist_ok=True)
    for name, target in (
        ("python", executable), ("python3", "python"), (f"python{minor}", "python"),
    ):  # fmt: skip
        (binaries / name).unlink(missing_ok=True)
        (binaries / name).symlink_to(target)
    lines = (
        f"home = {Path(executable).parent}",
        "include-system-site-packages = false",
        f"version = {version}",
        f"executable = {executable}",
    )
    (out / "pyvenv.cfg").write_text("".join(f"{line}\n" for line in lines))


def _clamp(out: Path) -> None:
    for folder, _, names in os.walk(out, topdown=False):
        for name in names:
            os.utime(Path(folder, name), (EPOCH, EPOCH), follow_symlinks=False)
        os.utime(folder, (EPOCH, EPOCH))


def _install(tree: _Tree, archive: zipfile.ZipFile, name: str) -> None:
    members = [m for m in archive.infolist() if not m.is_dir()]
    if sum(m.file_size for m in members) > UNPACKED_LIMIT:
        raise ValueError("it unpacks to more than the limit")
    infos = {m.filename.split("/")[0] for m in members if ".dist-info/" in m.filename}
    infos = {i for i in infos if i.endswith(".dist-info")}
    if len(infos) != 1:
        raise ValueError(f"it has {len(infos)} dist-info folders")
    info = infos.pop()
    tree.record = []
    for member in sorted(members, key=lambda m: m.filename):
        path, is_script = _place(tree, PurePosixPath(member.filename), name)
        if path.parent == tree.site / info and path.name in VOLATILE:
            continue
        executable = bool(member.external_attr >> 16 & 0o111) or is_script
        with archive.open(member) as source:
            chunks = iter(lambda source=source: source.read(CHUNK), b"")  # type: ignore[misc]
            tree.write(path, _shebang(chunks) if is_script else chunks, executable)
    _entry_points(tree, archive, info)
    tree.write(tree.site / info / "INSTALLER", (b"harness\n",), False)
    lines = sorted([*tree.record, f"{info}/RECORD,,"])
    tree.write(tree.site / info / "RECORD", ("\n".join([*lines, ""]).encode(),), False)


def _place(tree: _Tree, path: PurePosixPath, wheel: str) -> tuple[PurePosixPath, bool]:
    """Return where a member goes in the tree, and whether it is a script."""
    parts = path.parts
    if path.is_absolute() or ".." in parts or "\\" in str(path) or "\0" in str(path):
        raise ValueError(f"it has the unsafe path {str(path)[:200]!r}")
    if not parts[0].endswith(".data") or len(parts) < 3:
        return tree.site / path, False
    rest = PurePosixPath(*parts[2:])
    distribution = wheel.split("-")[0]
    places = {
        "purelib": tree.site,
        "platlib": tree.site,
        "scripts": PurePosixPath("bin"),
        "data": PurePosixPath(),
        "headers": PurePosixPath(f"include/site/python{tree.minor}/{distribution}"),
    }
    if parts[1] not in places:
        raise ValueError(f"it has the unknown kind of data {parts[1][:40]!r}")
    return places[parts[1]] / rest, parts[1] == "scripts"


def _shebang(chunks: Iterator[bytes]) -> Iterator[bytes]:
    first = next(chunks, b"")
    if first.startswith(b"#!python"):
        first = SHEBANG + first.partition(b"\n")[2]
    yield first
    yield from chunks


def _entry_points(tree: _Tree, archive: zipfile.ZipFile, info: str) -> None:
    if f"{info}/entry_points.txt" not in archive.namelist():
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(archive.read(f"{info}/entry_points.txt").decode())
    for group in ("console_scripts", "gui_scripts"):
        for name, value in parser[group].items() if group in parser else ():
            match = OBJECT.fullmatch(value)
            if match is None or not NAME.fullmatch(name) or name in {".", ".."}:
                raise ValueError(f"it has the entry point {name[:40]!r} that cannot be read")
            body = SCRIPT.format(module=match[1], first=match[2].split(".")[0], call=match[2])
            tree.write(PurePosixPath("bin", name), (SHEBANG, body.encode()), True)


def content_digest(tree: Path) -> str:
    """Return the digest of every installed file: path, whether executable, content.

    The interpreter's links and `pyvenv.cfg` are left out: they name where a machine has it.
    """
    paths = [p for p in files.walk(tree) if p != "pyvenv.cfg" and "__pycache__/" not in p]
    digest = hashlib.sha256()
    for entry in files.entries(tree, paths, Role.REPORT):
        mode = (tree / entry.path).stat().st_mode & stat.S_IXUSR
        digest.update(f"{entry.path}\0{'x' if mode else '-'}\0{entry.sha256}\n".encode())
    return digest.hexdigest()


def inventory(tree: Path) -> tuple[Package, ...]:
    """Return the distributions that are installed in a tree, by normalised name."""
    sites = [str(p) for p in sorted(tree.glob("lib/python*/site-packages"))]
    found = {(canonicalize_name(d.name), d.version) for d in distributions(path=sites)}
    return tuple(Package(name, version) for name, version in sorted(found))
