"""The folder that a job writes in: of a limited size where this machine lets us."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.runtimes.collect import scan

PREFIX = "harness-job-"
OWNED = re.compile(rf"{PREFIX}(\d+)-\w+")
WATCHED = "output_size (watched, not enforced)"
SLACK = 16 << 20  # what a file system keeps for itself


@contextmanager
def room(parent: Path, source: Path, output_size: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder for a copy of `source` and its outputs, and which limit it lacks.

    It is gone afterwards; what a killed harness leaves mounted is for `reap`.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    folder.chmod(0o755)
    size = output_size + _size(source) + SLACK
    mounted = os.geteuid() == 0 and (_loop(folder, size) or _memory(folder, size))
    try:
        yield folder, [] if mounted else [WATCHED]
    finally:
        _remove(folder, mounted)


def _size(source: Path) -> int:
    """Return what a copy of `source` takes, in whole blocks."""
    return sum(p.lstat().st_size + 4096 for p in scan(source))


def _loop(folder: Path, size: int) -> bool:
    """Mount a file system in a sparse file, which costs disk only as it fills."""
    tool = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None:
        return False
    image = folder.with_suffix(".img")
    try:
        with image.open("xb") as file:
            file.truncate(size + size // 50)
        made = [tool, "-q", "-F", "-m", "0", "-O", "^has_journal", "-E", "nodiscard", str(image)]
        mount = ["mount", "-o", "loop,nosuid,nodev,noinit_itable", str(image), str(folder)]
        return _succeeds(made) and _succeeds(mount)
    finally:
        # The mount keeps the file: nothing but the mount itself can be left behind.
        image.unlink(missing_ok=True)


def _memory(folder: Path, size: int) -> bool:
    options = f"size={size},mode=0755,nosuid,nodev"
    return _succeeds(["mount", "-t", "tmpfs", "-o", options, "harness-job", str(folder)])


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _remove(folder: Path, mounted: bool) -> None:
    if mounted:
        _succeeds(["umount", "-l", str(folder)])
    # Not shutil.rmtree, which a deep tree makes fail.
    _succeeds(["rm", "-rf", "--one-file-system", "--", str(folder)])


def reap() -> None:
    """Unmount and remove the folders of jobs whose harness is dead."""
    mounts = Path("/proc/self/mounts")
    for line in mounts.read_text().splitlines() if mounts.exists() else ():
        folder = Path(line.split()[1].encode().decode("unicode_escape"))
        owned = OWNED.fullmatch(folder.name)
        if owned and not Path("/proc", owned[1]).exists():
            with contextlib.suppress(OSError):
                _remove(folder, mounted=True)
