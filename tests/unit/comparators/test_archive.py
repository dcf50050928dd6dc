"""Archives of a malicious training: refused with a reason, in bounded time and memory."""

import gzip
import io
import lzma
import os
import resource
import tarfile
import time
import tracemalloc
import zipfile

import pytest

from harness.comparators import archive, family
from harness.comparators.base import Bounds
from harness.model import Status

BOUNDS = Bounds(expanded=64 << 20, entries=1000)


def tar(*members, compress=True, tail=b""):
    """Return a tar of raw (header, data) pairs."""
    out = io.BytesIO()
    for header, data in members:
        out.write(header.tobuf(tarfile.PAX_FORMAT))
        out.write(data + bytes(-len(data) % 512))
    out.write(bytes(1024) + tail)
    return gzip.compress(out.getvalue(), 1, mtime=0) if compress else out.getvalue()


def member(name, data=b"1", **fields):
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for key, value in fields.items():
        setattr(found, key, value)
    return found, data


def damaged():
    """Return a tar whose second header is damaged: tarfile would quietly end there."""
    data = bytearray(tar(member("a"), member("b", b"hidden"), compress=False))
    data[1024] ^= 1
    return bytes(data)


def zipped(*members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def link():
    info = zipfile.ZipInfo("a")
    info.external_attr = 0o120777 << 16
    return info


def overlapping():
    """Return a zip whose two entries are the same bytes of the file."""
    data = zipped(("a", b"x" * 999), ("b", b"x" * 999))
    second = data.index(b"PK\x03\x04", 4)
    at = data.rindex(b"PK\x01\x02")
    assert int.from_bytes(data[at + 42 : at + 46], "little") == second
    return data[: at + 42] + bytes(4) + data[at + 46 :]


MEGA = bytes(1 << 20)
CASES = {
    "tar-parent": tar(member("../a")),
    "tar-absolute": tar(member("/etc/a")),
    "tar-link": tar(member("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "tar-hard-link": tar(member("a"), member("b", b"", type=tarfile.LNKTYPE, linkname="a")),
    "tar-device": tar(member("a", b"", type=tarfile.CHRTYPE)),
    "tar-fifo": tar(member("a", b"", type=tarfile.FIFOTYPE)),
    "tar-twice": tar(member("a"), member("a", b"2")),
    "tar-file-as-folder": tar(member("a"), member("a/b")),
    "tar-members": tar(*(member(f"f{n}") for n in range(1001))),
    "tar-bomb": tar(member("a", bytes(80 << 20))),
    "tar-long-name": tar(member("x", bytes(70 << 20), type=tarfile.GNUTYPE_LONGNAME)),
    "tar-pax-header": tar(member("x", bytes(70 << 20), type=tarfile.XHDTYPE)),
    "tar-sparse": tar(member("a", b"", type=tarfile.GNUTYPE_SPARSE)),
    "tar-damaged": damaged(),
    "tar-behind": tar(member("a"), tail=b"more", compress=False),
    "tar-cut-off": tar(member("a", MEGA), compress=False)[:5000],
    "gzip-bomb": gzip.compress(bytes(80 << 20), 1),
    "zip-parent": zipped(("../a", "1")),
    "zip-absolute": zipped(("/a", "1")),
    "zip-backslash": zipped(("..\\a", "1")),
    "zip-link": zipped((link(), "/etc/passwd")),
    "zip-overlap": overlapping(),
    "zip-bomb": zipped(*((f"f{n}", MEGA) for n in range(80))),
    "zip-members": zipped(*((f"f{n}", "1") for n in range(1001))),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_archive_is_refused_with_a_reason_and_within_bounds(tmp_path, case):
    one, two = tmp_path / "one", tmp_path / "two"
    kind = case.partition("-")[0]
    one.write_bytes(zipped(("a", "1")) if kind == "zip" else tar(member("a")))
    if kind == "gzip":
        one.write_bytes(gzip.compress(b"1"))
    two.write_bytes(CASES[case])
    start = time.monotonic()
    tracemalloc.start()
    found = family.compare(one, two, case, bounds=BOUNDS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.status == Status.UNCOMPARABLE
    assert found.reason.startswith({"gzip": "compressed"}.get(kind, kind))
    assert "cannot be read (" not in found.reason
    assert time.monotonic() - start < 10
    assert peak < 32 << 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]


def test_archives_within_archives_end_at_the_depth_that_the_bounds_allow(tmp_path):
    sides = []
    for name, data in (("one", b"1,2\n"), ("two", b"1,3\n")):
        for _ in range(12):
            data = gzip.compress(data)
        sides.append(tmp_path / name)
        sides[-1].write_bytes(data)
    found = family.compare(*sides, "m", bounds=Bounds(depth=8))
    assert found.status == Status.UNCOMPARABLE
    while found.children:
        found = found.children[0]
    assert found.reason == "nested deeper than the bounds allow"


def test_a_table_in_gzip_is_compared_as_a_table(tmp_path):
    one, two = tmp_path / "one.csv.gz", tmp_path / "two.csv.gz"
    one.write_bytes(gzip.compress(b"a,b\n1,2\n3,4\n", mtime=1))
    two.write_bytes(gzip.compress(b"a,b\n1,2\n3,5\n", mtime=2))
    found = family.compare(one, two, "t.csv.gz")
    assert found.status == Status.DIFFERENT
    assert found.children[0].comparator == "csv@1"
    two.write_bytes(gzip.compress(b"a,b\n1,2\n3,4\n", mtime=2))
    found = family.compare(one, two, "t.csv.gz")
    assert (found.status, [s.what for s in found.set_aside]) == (Status.EXACT, ["container"])


def xz(data, dictionary=1 << 20):
    return lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": dictionary}])


def test_xz_of_several_streams_is_read_to_its_end(tmp_path):
    a, b = tmp_path / "a.csv.xz", tmp_path / "b.csv.xz"
    a.write_bytes(xz(b"x,y\n1,2\n3,4\n"))
    b.write_bytes(xz(b"x,y\n1,2\n") + bytes(8) + xz(b"3,4\n") + bytes(4))
    assert family.compare(a, b, "m").status == Status.EXACT
    b.write_bytes(xz(b"x,y\n1,2\n") + bytes(8) + xz(b"3,5\n"))
    assert family.compare(a, b, "m").status == Status.DIFFERENT


@pytest.mark.parametrize("compare", ["tar", "compressed"])
def test_xz_that_asks_for_much_memory_is_refused_before_it_has_it(tmp_path, compare):
    data = tar(member("a"), compress=False) if compare == "tar" else b"x,y\n1,2\n"
    a, b = tmp_path / "a.xz", tmp_path / "b.xz"
    a.write_bytes(xz(data, 1 << 30))
    b.write_bytes(xz(data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = family.compare(a, b, "m", bounds=BOUNDS)
    assert found.status == Status.UNCOMPARABLE
    assert "emory" in found.reason or "no comparator" in found.reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


@pytest.mark.parametrize("end", [b"garbage behind", b"\xfd7zXZ\0"])
def test_xz_with_something_behind_its_end_is_refused(tmp_path, end):
    a, b = tmp_path / "a.csv.xz", tmp_path / "b.csv.xz"
    a.write_bytes(xz(b"x,y\n1,2\n"))
    b.write_bytes(xz(b"x,y\n1,2\n") + end)
    assert family.compare(a, b, "m").status == Status.UNCOMPARABLE


def test_a_member_of_zeros_fills_no_disk(tmp_path):
    source, target = io.BytesIO(bytes(8 << 20) + b"end" + bytes(3 << 20)), tmp_path / "copy"
    archive._copy(source, target, 1 << 30, tmp_path / "a.tar")
    assert target.read_bytes() == source.getvalue()
    assert os.stat(target).st_blocks * 512 < 4 << 20
