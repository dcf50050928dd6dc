"""Measure comparing against its peers on the same files: `compare.py [--size-mib N] [--files N]`.

Every arm asserts its answer; arms are interleaved; the table holds the medians of the per-round
ratios and their range. Files are in the page cache unless a row says otherwise.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.comparators import family, kernel, numeric
from harness.model import Status, Tolerance, ToleranceRule

MIB = 1 << 20
ATOL = 1e-6
BLOCK = 1 << 22
WIDTH = {"F32": 4, "BF16": 2, "F16": 2}
Arm = Callable[[], None]


@dataclass
class Row:
    """One comparison: harness first, then its peers, and how much faster the issue asks to be."""

    what: str
    arms: dict[str, Arm]
    asked: dict[str, str] = field(default_factory=dict)


def run(*argv: object, expected: int = 0) -> None:
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == expected, f"{argv[0]}: exit {done.returncode}"


def ours(a: Path, b: Path, status: Status, rtol: float = 1e-3) -> None:
    rule = Tolerance((ToleranceRule("*", rtol=rtol, atol=ATOL),))
    found = family.compare(a, b, a.name, tolerance=rule)
    assert found.status == status, f"{found.status}: {found.reason}"
    assert found.values


def with_other(module: object, name: str, value: object, arm: Arm) -> None:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        arm()
    finally:
        setattr(module, name, before)


def without_ulps(arm: Arm) -> None:
    with_other(kernel, "counted", lambda dtype: False, arm)


def by_numpy(arm: Arm) -> None:
    """As it runs where the extra `fast` is not installed."""
    with_other(numeric, "LARGE", sys.maxsize, arm)


# Files


def sizes(total: int) -> Iterator[int]:
    """Yield the bytes of each tensor: a few large ones, projections, and many small ones."""
    large = min(64 * MIB, total // 4)
    for _ in range(max(1, total // 4 // large)):
        total -= large
        yield large
    layer = [16 * MIB, *[4 * MIB] * 4, MIB, *[16 << 10] * 4, *[4 << 10] * 8]
    while total > 0:
        for size in layer:
            yield min(size, max(total, 4))
            total -= size
            if total <= 0:
                return


def values(number: int, size: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(number)
    for start in range(0, size, BLOCK):
        yield rng.standard_normal(min(BLOCK, size - start), dtype=np.float32) * np.float32(0.02)


def encoded(block: np.ndarray, kind: str, moved: float) -> bytes:
    """Return a block in a type; `moved` scales float32, halves move by one unit instead."""
    if kind == "F32":
        return (block * np.float32(1 + moved)).tobytes()
    bits = (block.view(np.uint32) >> 16).astype("u2") if kind == "BF16" else None
    bits = block.astype("f2").view("u2") if bits is None else bits
    return (bits + np.uint16(bool(moved))).tobytes()


def write_safetensors(path: Path, mebibytes: int, kind: str, moved: float) -> None:
    width = WIDTH[kind]
    counts = [size // width for size in sizes(mebibytes * MIB)]
    header, at = {}, 0
    for n, count in enumerate(counts):
        span = [at, at + count * width]
        header[f"layer.{n}.weight"] = {"dtype": kind, "shape": [count], "data_offsets": span}
        at = span[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for n, count in enumerate(counts):
            for block in values(n, count):
                file.write(encoded(block, kind, moved))


# Peers


def allclose(a: Path, b: Path, rtol: float = 1e-3, *, expected: bool = True) -> None:
    from safetensors import safe_open

    with safe_open(a, "np") as one, safe_open(b, "np") as two:
        for name in one.keys():  # noqa: SIM118
            close = np.allclose(two.get_tensor(name), one.get_tensor(name), rtol, ATOL)
            assert close == expected


def each_in_torch(a: Path, b: Path, check: Callable[..., object]) -> None:
    from safetensors import safe_open

    with safe_open(a, "pt") as one, safe_open(b, "pt") as two:
        for name in one.keys():  # noqa: SIM118
            assert check(two.get_tensor(name), one.get_tensor(name)) in {None, True}


def torch_allclose(a: Path, b: Path, rtol: float) -> None:
    import torch

    each_in_torch(a, b, lambda x, y: torch.allclose(x, y, rtol, ATOL))


def assert_close(a: Path, b: Path, rtol: float) -> None:
    import torch

    each_in_torch(a, b, lambda x, y: torch.testing.assert_close(x, y, rtol=rtol, atol=ATOL))


def zip_allclose(a: Path, b: Path) -> None:
    import torch

    one, two = (torch.load(p, weights_only=True) for p in (a, b))
    assert all(torch.allclose(two[k], one[k], 1e-3, ATOL) for k in one)


def npz_allclose(a: Path, b: Path) -> None:
    with np.load(a) as one, np.load(b) as two:
        assert all(np.allclose(two[k], one[k], 1e-3, ATOL) for k in one.files)


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


# Rows


def equal_rows(folder: Path, size: int) -> list[Row]:
    from harness.files import digest

    a, b = folder / "a.safetensors", folder / "b.safetensors"
    write_safetensors(a, size, "F32", 0)
    shutil.copyfile(a, b)
    with a.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()

    def digested() -> None:
        assert digest(a)[0] == expected

    return [
        Row(f"equal files of {size} MiB", {
            "harness": lambda: ours(a, b, Status.IDENTICAL),
            "cmp": lambda: run("cmp", a, b),
        }, {"cmp": ">= 2"}),
        Row("the same, cold", {
            "harness": lambda: cold(lambda: ours(a, b, Status.IDENTICAL), a, b),
            "cmp": lambda: cold(lambda: run("cmp", a, b), a, b),
        }, {"cmp": ">= 0.95"}),
        Row("sha256 of one file", {
            "harness": digested, "sha256sum": lambda: run("sha256sum", a),
        }, {"sha256sum": ">= 4"}),
    ]  # fmt: skip


def float_rows(folder: Path, size: int) -> list[Row]:
    a, b, far = (folder / f"{side}.safetensors" for side in ("a", "b", "far"))
    for path, moved in ((a, 0.0), (b, 1e-4), (far, 1e-2)):
        write_safetensors(path, size, "F32", moved)
    what = f"safetensors F32, {size} MiB, every value differs"

    def within() -> None:
        ours(a, b, Status.WITHIN_TOLERANCE)

    def beyond() -> None:
        ours(a, far, Status.DIFFERENT)

    return [
        Row(f"{what}, within", {
            "harness": within,
            "numpy.allclose": lambda: allclose(a, b),
            "torch.testing.assert_close": lambda: assert_close(a, b, 1e-3),
            "harness without ULP": lambda: without_ulps(within),
            "harness without `fast`": lambda: by_numpy(within),
        }, {"numpy.allclose": ">= 3", "torch.testing.assert_close": ">= 5"}),
        Row(f"{what}, most beyond", {
            "harness": beyond,
            "numpy.allclose": lambda: allclose(a, far, expected=False),
            "harness without `fast`": lambda: by_numpy(beyond),
        }, {"numpy.allclose": ">= 3"}),
    ]  # fmt: skip


def half_rows(folder: Path, size: int) -> list[Row]:
    rows = []
    for kind in ("BF16", "F16"):
        pair = [folder / f"{kind}-{side}.safetensors" for side in "ab"]
        for path, moved in zip(pair, (0.0, 1.0), strict=True):
            write_safetensors(path, size // 2, kind, moved)

        def within(pair: list[Path] = pair) -> None:
            ours(*pair, Status.WITHIN_TOLERANCE, 2e-2)

        arms: dict[str, Arm] = {
            "harness": within,
            "harness without `fast`": lambda arm=within: by_numpy(arm),  # type: ignore[misc]
            "torch.allclose": lambda p=pair: torch_allclose(*p, 2e-2),  # type: ignore[misc]
            "torch.testing.assert_close": lambda p=pair: assert_close(*p, 2e-2),  # type: ignore[misc]
        }
        asked = {"torch.allclose": ">= 3", "torch.testing.assert_close": ">= 5"}
        if kind == "F16":  # numpy knows this one: the peer that is asked for
            arms["numpy.allclose"] = lambda p=pair: allclose(*p, 2e-2)  # type: ignore[misc]
            asked = {"numpy.allclose": ">= 3", **asked, "torch.allclose": ""}
        what = f"safetensors {kind}, {size // 2} MiB, every value one ULP off"
        rows.append(Row(what, arms, asked))
    return rows


def container_rows(folder: Path, size: int) -> list[Row]:
    import torch

    size //= 4
    paths = {}
    for side, moved in (("a", 0.0), ("b", 1e-4)):
        arrays = {}
        for n, nbytes in enumerate(sizes(size * MIB)):
            whole = np.concatenate(list(values(n, nbytes // 4)))
            arrays[f"w{n}"] = whole * np.float32(1 + moved)
        paths[f"npz-{side}"], paths[f"pt-{side}"] = folder / f"{side}.npz", folder / f"{side}.pt"
        np.savez(paths[f"npz-{side}"], **arrays)
        torch.save({k: torch.from_numpy(v) for k, v in arrays.items()}, paths[f"pt-{side}"])
    npz, pt = ([paths[f"{k}-{s}"] for s in "ab"] for k in ("npz", "pt"))
    return [
        Row(f"npz, {size} MiB, every value differs", {
            "harness": lambda: ours(*npz, Status.WITHIN_TOLERANCE),
            "numpy.load + allclose": lambda: npz_allclose(*npz),
        }, {"numpy.load + allclose": ">= 3"}),
        Row(f"torch zip, {size} MiB, every value differs", {
            "harness": lambda: ours(*pt, Status.WITHIN_TOLERANCE),
            "torch.load + allclose": lambda: zip_allclose(*pt),
        }, {"torch.load + allclose": ">= 3"}),
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
    }, {"diff -rq": "aim: >= 0.67"})]  # fmt: skip


# Measuring


def timed(arm: Arm) -> float:
    COLD[0] = 0.0
    started = time.perf_counter()
    arm()
    return time.perf_counter() - started - COLD[0]


def lines(row: Row, rounds: int) -> Iterator[str]:
    """Yield the table's lines of one row: its arms in turn, the other way round each time."""
    print(f"  {row.what}", file=sys.stderr, flush=True)
    for arm in row.arms.values():
        arm()  # imports and page cache
    seconds: dict[str, list[float]] = {name: [] for name in row.arms}
    for number in range(rounds):
        for name in list(row.arms) if number % 2 else list(reversed(row.arms)):
            seconds[name].append(timed(row.arms[name]))
    mine = seconds.pop("harness")
    for name, theirs in seconds.items():
        ratios = [t / m for t, m in zip(theirs, mine, strict=True)]
        yield (
            f"| {row.what} | {statistics.median(mine):.3f} | {name} "
            f"| {statistics.median(theirs):.3f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} | {min(theirs) / min(mine):.2f} "
            f"| {row.asked.get(name, '')} |"
        )


def diffoscope(folder: Path, limit: float, group: str) -> Iterator[str]:
    """Yield a line for each pair that lies in a folder, for the record: what diffoscope takes."""
    tool = shutil.which("diffoscope")
    for a in sorted(folder.iterdir()):
        b = a.with_name(f"{a.stem[:-1]}b{a.suffix}")
        if not a.stem.endswith("a") or not b.exists():
            continue
        size = "folder" if a.is_dir() else f"{a.stat().st_size / MIB:.0f} MiB"
        what = f"{group}: {a.name}, {size}"
        if not tool:
            yield f"| {what} | not installed |"
            continue
        started = time.perf_counter()
        argv = [tool, "--text", os.devnull, "--no-progress", str(a), str(b)]
        try:
            code = subprocess.run(argv, timeout=limit, capture_output=True, check=False).returncode
            took = f"{time.perf_counter() - started:.1f} s, exit {code}"
        except subprocess.TimeoutExpired:
            took = f"stopped after {limit:.0f} s"
        yield f"| {what} | {took} |"


PEAK = """
import sys, threading, time
from pathlib import Path
from harness.comparators import family
from harness.model import Tolerance, ToleranceRule
def anonymous():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
from harness.comparators import numeric
family.table()
a, b, small, other = map(Path, sys.argv[1:])
rule = Tolerance((ToleranceRule("*", rtol=2e-2, atol=1e-6),))
large, numeric.LARGE = numeric.LARGE, 0
family.compare(small, other, "m", tolerance=rule)
numeric.LARGE = large
before, peak, going = anonymous(), 0.0, True
def watch():
    global peak
    while going:
        peak = max(peak, anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
started = time.perf_counter()
found = family.compare(a, b, "m", tolerance=rule)
took = time.perf_counter() - started
going = False
thread.join()
assert found.status == "WITHIN_TOLERANCE", (found.status, found.reason)
print(f"{max(0.0, peak - before):.1f} MiB, {took:.1f} s")
"""


def memory(folder: Path, a: Path, b: Path) -> str:
    """Return the anonymous memory above what is there after a small pair of the kind."""
    small = [folder / f"small-{s}.safetensors" for s in "ab"]
    for path, moved in zip(small, (0.0, 1e-4), strict=True):
        write_safetensors(path, 1, "F32", moved)
    argv = [sys.executable, "-c", PEAK, *map(str, (a, b, *small))]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


LOADING = """
import time
started = time.perf_counter()
import numpy as np
from harness.comparators import numeric
from harness.model import ToleranceRule
imported = time.perf_counter()
numeric.LARGE = 0
numeric.measure(bytes(64), bytes(64), "float32", ToleranceRule())
print(f"{time.perf_counter() - imported:.2f}")
"""


def loading() -> str:
    """Return what the first use of the compiled loops takes, compiling them and once they are."""
    argv = [sys.executable, "-c", LOADING]
    with tempfile.TemporaryDirectory() as name:
        env = os.environ | {"NUMBA_CACHE_DIR": name}
        first, again = (
            subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
            for _ in range(2)
        )
    return f"{first.strip()} s compiling them, {again.strip()} s from then on"


def beyond_memory(folder: Path) -> str:
    """Compare two safetensors larger than the memory: holes, and one value that differs."""
    size = min(60 << 30, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 5 // 4)
    size -= size % (64 * MIB)
    header = {
        f"w{at}": {
            "dtype": "F32", "shape": [16 * MIB], "data_offsets": [at, at + 64 * MIB]
        } for at in range(0, size, 64 * MIB)
    }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    pair = [folder / f"huge-{side}.safetensors" for side in "ab"]
    for path, value in zip(pair, (1.0, 1.001), strict=True):
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + size)
            file.seek(-4, os.SEEK_END)
            file.write(np.float32(value).tobytes())
    return f"{size >> 30} GiB each (sparse): {memory(folder, *pair)}"


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [x.partition(":")[2].strip() for x in text.splitlines() if x.startswith("model name")]
    return (
        f"{names[0] if names else 'unknown CPU'}, {len(os.sched_getaffinity(0))} cores, "
        f"Python {sys.version.split()[0]}, numpy {np.__version__}"
    )


NOTES = """
Reading it: "ratio" is the median over the rounds of peer's time over harness's in that round (above
1: harness is faster), "range" its extremes, "best" the fastest run of the one over the fastest of
the other, which other work on the machine disturbs least. Loading is inside every arm. Harness
also tells max abs, max rel, relative L2, both counts and ULP where `allclose` tells yes or no.
Large float tensors go through loops that numba compiles (`repro-harness[fast]`); "without `fast`"
is the same by numpy alone, about nine calls per half MiB in the cache. The two sides come from
memory once. With one core free instead of two, the harness rows take up to twice as long, and so do
torch's.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--diffoscope-seconds", type=float, default=60)
    parser.add_argument("--dir", type=Path, help="where the files are made (default: temporary)")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("compare.md"))
    given = parser.parse_args()
    table, recorded, anonymous, load = [], [], "", os.getloadavg()[0]
    groups = (
        (equal_rows, given.size_mib), (float_rows, given.size_mib), (half_rows, given.size_mib),
        (container_rows, given.size_mib), (tree_rows, given.files),
    )  # fmt: skip
    for make, size in groups:
        with tempfile.TemporaryDirectory(dir=given.dir) as name:
            folder = Path(name)
            for row in make(folder, size):
                table += lines(row, given.rounds)
            recorded += diffoscope(
                folder, given.diffoscope_seconds, make.__name__.removesuffix("_rows")
            )
            if make is float_rows:
                pair = folder / "a.safetensors", folder / "b.safetensors"
                anonymous = f"{size} MiB each: {memory(folder, *pair)}"
    with tempfile.TemporaryDirectory(dir=given.dir) as name:
        huge = beyond_memory(Path(name))
    command = f"python benchmarks/compare.py --size-mib {given.size_mib} --files {given.files}"
    now = datetime.datetime.now(datetime.UTC)
    given.output.write_text(
        f"# Comparing, against its peers\n\n`{command} --rounds {given.rounds}`, "
        f"{now:%Y-%m-%d %H:%M} UTC, on {machine()}.\nLoad of others when it began: {load:.1f}, "
        f"when it ended (with its own): {os.getloadavg()[0]:.1f}.\n{NOTES}\n"
        "| what | harness s | peer | peer s | ratio | range | best | asked |\n"
        "|---|---|---|---|---|---|---|---|\n" + "\n".join(table) + "\n\n"
        "Anonymous memory above the imports (asked: at most 64 MiB), and the time of that run:\n\n"
        f"- float32 that differ everywhere, {anonymous}\n- larger than the memory, {huge}\n\n"
        f"Loading the compiled loops, once a process and inside no row: {loading()}.\n\n"
        "ULP are exact where at most 4096 elements of a job of 2 MiB differ, else of a sample, "
        "which the answer says;\nthe row without them states their cost.\n\n"
        "diffoscope on the same pairs, for the record:\n\n| pair | diffoscope |\n|---|---|\n"
        + "\n".join(recorded)
        + "\n",
        "utf-8",
    )
    print(given.output.read_text("utf-8"))


if __name__ == "__main__":
    main()
