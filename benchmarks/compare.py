"""Measure comparing against its peers on the same files: `compare.py [--size-mb N] [--rounds N]`.

Every arm asserts its answer; arms are interleaved; the table holds the medians of the per-round
ratios and their range. Files are in the page cache unless a row says otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.comparators import family
from harness.model import Status, Tolerance, ToleranceRule

RTOL = 1e-3
RULE = Tolerance((ToleranceRule("*", rtol=RTOL, atol=1e-6),))
BLOCK = 1 << 22
Arm = Callable[[], None]


@dataclass
class Row:
    what: str
    arms: dict[str, Arm]


def run(*argv: object, expected: int = 0) -> None:
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == expected, f"{argv[0]}: exit {done.returncode}"


def ours(a: Path, b: Path, status: Status) -> None:
    found = family.compare(a, b, a.name, tolerance=RULE)
    assert found.status == status, f"{found.status}: {found.reason}"
    assert found.values


def write_safetensors(path: Path, megabytes: int, kind: str, factor: float) -> None:
    """Write 64 tensors; `factor` scales every value, so that all of them differ."""
    import json

    width = {"F32": 4, "BF16": 2, "F16": 2}[kind]
    each = megabytes * (1 << 20) // width // 64
    header, at = {}, 0
    for n in range(64):
        span = [at, at + each * width]
        header[f"layer.{n}.weight"] = {"dtype": kind, "shape": [each], "data_offsets": span}
        at = span[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for n in range(64):
            rng = np.random.default_rng(n)
            for start in range(0, each, BLOCK):
                values = rng.standard_normal(min(BLOCK, each - start), dtype=np.float32)
                values *= np.float32(factor)
                if kind == "BF16":
                    file.write((values.view(np.uint32) >> 16).astype(np.uint16).tobytes())
                else:
                    file.write(values.astype("f4" if kind == "F32" else "f2").tobytes())


def allclose(a: Path, b: Path) -> None:
    from safetensors import safe_open

    with safe_open(a, "np") as one, safe_open(b, "np") as two:
        for name in one.keys():  # noqa: SIM118
            assert np.allclose(two.get_tensor(name), one.get_tensor(name), RTOL, 1e-6)


def assert_close(a: Path, b: Path) -> None:
    import torch
    from safetensors import safe_open

    with safe_open(a, "pt") as one, safe_open(b, "pt") as two:
        for name in one.keys():  # noqa: SIM118
            left, right = one.get_tensor(name), two.get_tensor(name)
            torch.testing.assert_close(right, left, rtol=RTOL, atol=1e-6)


def torch_allclose(a: Path, b: Path) -> None:
    import torch

    one, two = (torch.load(p, weights_only=True) for p in (a, b))
    assert all(torch.allclose(two[k], one[k], RTOL, 1e-6) for k in one)


def npz_allclose(a: Path, b: Path) -> None:
    with np.load(a) as one, np.load(b) as two:
        assert all(np.allclose(two[k], one[k], RTOL, 1e-6) for k in one.files)


def digest(path: Path) -> None:
    from harness.files import digest as ours_digest

    assert ours_digest(path)[0] == EXPECTED[path]


EXPECTED: dict[Path, str] = {}


def equal_rows(folder: Path, size: int) -> list[Row]:
    a, b = folder / "equal-a.safetensors", folder / "equal-b.safetensors"
    write_safetensors(a, size, "F32", 1.0)
    shutil.copyfile(a, b)
    with a.open("rb") as file:
        EXPECTED[a] = hashlib.file_digest(file, "sha256").hexdigest()
    return [
        Row("equal files", {
            "harness": lambda: ours(a, b, Status.IDENTICAL),
            "cmp": lambda: run("cmp", a, b),
        }),
        Row("equal files, cold", {
            "harness": lambda: cold(lambda: ours(a, b, Status.IDENTICAL), a, b),
            "cmp": lambda: cold(lambda: run("cmp", a, b), a, b),
        }),
        Row("sha256 of one file", {
            "harness": lambda: digest(a), "sha256sum": lambda: run("sha256sum", a),
        }),
    ]  # fmt: skip


COLD = [0.0]


def cold(arm: Arm, *paths: Path) -> None:
    """Run an arm on files dropped from the page cache; dropping them is not timed."""
    started = time.perf_counter()
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    COLD[0] = time.perf_counter() - started
    arm()


def tolerance_rows(folder: Path, size: int) -> list[Row]:
    rows = []
    for kind, share in (("F32", 1), ("BF16", 2), ("F16", 2)):
        a, b = folder / f"{kind}-a.safetensors", folder / f"{kind}-b.safetensors"
        write_safetensors(a, size // share, kind, 1.0)
        # bf16 and fp16 hold few digits: there every value moves by more than RTOL
        write_safetensors(b, size // share, kind, 1 + 1e-4 if kind == "F32" else 1.01)
        status = Status.WITHIN_TOLERANCE if kind == "F32" else Status.DIFFERENT
        arms: dict[str, Arm] = {"harness": lambda a=a, b=b, s=status: ours(a, b, s)}  # type: ignore[misc]
        if kind == "F32":
            arms["numpy.allclose"] = lambda a=a, b=b: allclose(a, b)  # type: ignore[misc]
            arms["torch.testing.assert_close"] = lambda a=a, b=b: assert_close(a, b)  # type: ignore[misc]
        else:
            arms["torch.allclose"] = lambda a=a, b=b: torch_far(a, b)  # type: ignore[misc]
        rows.append(Row(f"safetensors {kind}, {size // share} MiB, every value differs", arms))
    return rows


def torch_far(a: Path, b: Path) -> None:
    import torch
    from safetensors import safe_open

    with safe_open(a, "pt") as one, safe_open(b, "pt") as two:
        for name in one.keys():  # noqa: SIM118
            assert not torch.allclose(two.get_tensor(name), one.get_tensor(name), RTOL, 1e-6)


def container_rows(folder: Path, size: int) -> list[Row]:
    import torch

    size //= 4
    each = size * (1 << 20) // 4 // 16
    paths = {}
    for side, factor in (("a", 1.0), ("b", 1 + 1e-4)):
        arrays = {}
        for n in range(16):
            values = np.random.default_rng(n).standard_normal(each, dtype=np.float32)
            arrays[f"w{n}"] = values * np.float32(factor)
        paths[f"npz-{side}"], paths[f"pt-{side}"] = folder / f"{side}.npz", folder / f"{side}.pt"
        np.savez(paths[f"npz-{side}"], **arrays)
        torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, paths[f"pt-{side}"])
    npz, pt = ([paths[f"{k}-{s}"] for s in "ab"] for k in ("npz", "pt"))
    return [
        Row(f"npz, {size} MiB, every value differs", {
            "harness": lambda: ours(*npz, Status.WITHIN_TOLERANCE),
            "numpy.load + allclose": lambda: npz_allclose(*npz),
        }),
        Row(f"torch zip, {size} MiB, every value differs", {
            "harness": lambda: ours(*pt, Status.WITHIN_TOLERANCE),
            "torch.load + allclose": lambda: torch_allclose(*pt),
        }),
    ]  # fmt: skip


def tree_rows(folder: Path, count: int) -> list[Row]:
    a, b = folder / "tree-a", folder / "tree-b"
    data = np.random.default_rng(0).bytes(4096)
    for n in range(count):
        for side in (a, b):
            path = side / f"{n % 100:02}" / f"{n}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[n % 1000 :])
    return [Row(f"folder of {count} files of 4 KiB, equal", {
        "harness": lambda: ours(a, b, Status.IDENTICAL),
        "diff -rq": lambda: run("diff", "-rq", a, b),
    })]  # fmt: skip


def timed(arm: Arm) -> float:
    COLD[0] = 0.0
    started = time.perf_counter()
    arm()
    return time.perf_counter() - started - COLD[0]


def measured(row: Row, rounds: int) -> dict[str, list[float]]:
    for name, arm in row.arms.items():
        if "cold" not in row.what:
            arm()  # imports and page cache
        print(f"  {row.what}: {name}", file=sys.stderr, flush=True)
    seconds: dict[str, list[float]] = {name: [] for name in row.arms}
    for number in range(rounds):
        order = list(row.arms) if number % 2 else list(reversed(row.arms))
        for name in order:
            seconds[name].append(timed(row.arms[name]))
    return seconds


def lines(row: Row, rounds: int) -> list[str]:
    seconds = measured(row, rounds)
    mine = seconds["harness"]
    found = []
    for name, theirs in seconds.items():
        if name == "harness":
            continue
        ratios = [t / m for t, m in zip(theirs, mine, strict=True)]
        found.append(
            f"| {row.what} | {statistics.median(mine):.3f} | {name} "
            f"| {statistics.median(theirs):.3f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    return found


PEAK = """
import sys, threading, time
from pathlib import Path
from harness.comparators import family
from harness.model import Tolerance, ToleranceRule
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
family.table()
a, b, small, other = map(Path, sys.argv[1:])
rule = Tolerance((ToleranceRule("*", rtol=1e-3, atol=1e-6),))
family.compare(small, other, "m", tolerance=rule)
before, peak, going = anonymous(), 0.0, True
def watch():
    global peak
    while going:
        peak = max(peak, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
found = family.compare(a, b, "m", tolerance=rule)
going = False
thread.join()
assert found.status == "WITHIN_TOLERANCE", found
print(f"{max(0.0, peak - before):.1f}")
"""


def memory(folder: Path) -> float:
    small = [folder / f"small-{s}.safetensors" for s in "ab"]
    for path, factor in zip(small, (1.0, 1.0001), strict=True):
        write_safetensors(path, 1, "F32", factor)
    pair = [folder / f"F32-{s}.safetensors" for s in "ab"]
    argv = [sys.executable, "-c", PEAK, *map(str, (*pair, *small))]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


def machine() -> str:
    cpu = next(
        (x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")),
        ":",
    )
    return (
        f"{cpu.partition(':')[2].strip()}, {os.cpu_count()} CPUs, Python {sys.version.split()[0]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mb", type=int, default=2048)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="where the files are made (default: temporary)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("compare.md"))
    given = parser.parse_args()
    table: list[str] = []
    with tempfile.TemporaryDirectory(dir=given.dir) as name:
        folder = Path(name)
        for make, size in (
            (equal_rows, given.size_mb), (tolerance_rows, given.size_mb),
            (container_rows, given.size_mb), (tree_rows, given.files),
        ):  # fmt: skip
            for row in make(folder, size):
                table += lines(row, given.rounds)
            if make is tolerance_rows:
                peak = memory(folder)
    command = f"python benchmarks/compare.py --size-mb {given.size_mb} --files {given.files}"
    given.output.write_text(
        f"# Comparing, against its peers\n\n`{command} --rounds {given.rounds}` on {machine()}, "
        f"load {os.getloadavg()[0]:.1f}.\nSeconds are medians of {given.rounds} interleaved "
        "rounds, the ratio the median of the rounds' own ratios (above 1: harness is faster).\n"
        "Loading is inside every arm. Files are in the page cache unless the row says cold.\n\n"
        f"| what | harness s | peer | peer s | ratio | range |\n|---|---|---|---|---|---|\n"
        + "\n".join(table)
        + f"\n\nAnonymous memory above the imports, {given.size_mb} MiB of float32 that differ "
        f"everywhere: {peak:.1f} MiB.\nULP are exact where few elements of a MiB differ, of a "
        "sample where many do; their cost is inside the harness rows.\n",
        "utf-8",
    )
    print(given.output.read_text("utf-8"))


if __name__ == "__main__":
    main()
