"""Locks: three formats read alike, and a hostile one cannot choose where packages come from."""

import textwrap

import pytest

from harness.errors import IncompleteLineage, UsageError
from harness.runtimes.locks import Locked, Target, read

TARGET = Target("3.11.7", "2.36", "x86_64")
A, B = "a" * 64, "b" * 64


@pytest.fixture
def lock(tmp_path):
    def make(text, name="requirements.lock"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return make


def test_a_requirements_lock_gives_names_versions_and_hashes(lock):
    text = f"""
        # made by a tool
        Some_Package[extra]==1.0 \\
            --hash=sha256:{A} \\
            --hash=sha256:{B}
            # via other
        only-elsewhere==2 ; sys_platform == "win32" --hash=sha256:{A}
        new-python==3 ; python_version >= "3.12" --hash=sha256:{A}
    """
    expected = Locked("some-package", "1.0", (f"sha256:{A}", f"sha256:{B}"))
    assert read(lock(text), TARGET) == (expected,)
    newer = Target("3.12.1", "2.36", "x86_64")
    assert [p.name for p in read(lock(text), newer)] == ["new-python", "some-package"]


def test_a_pylock_gives_the_same(lock):
    text = f"""
        lock-version = "1.0"
        created-by = "test"
        [[packages]]
        name = "some-package"
        version = "1.0"
        marker = "'dev' not in dependency_groups"
        wheels = [{{ name = "some_package-1.0-py3-none-any.whl", url = "https://x.invalid/a.whl", hashes = {{ sha256 = "{A}" }} }}]
        [[packages]]
        name = "elsewhere"
        version = "1.0"
        marker = "sys_platform == 'win32'"
        wheels = [{{ name = "elsewhere-1.0-py3-none-any.whl", url = "https://x.invalid/b.whl", hashes = {{ sha256 = "{B}" }} }}]
    """  # noqa: E501
    assert read(lock(text, "pylock.toml"), TARGET) == (
        Locked("some-package", "1.0", (f"sha256:{A}",)),
    )


def test_a_uv_lock_gives_the_same(lock):
    lock('[project]\nname = "p"\nversion = "0"\nrequires-python = ">=3.11"\n'
         'dependencies = ["iniconfig"]\n', "pyproject.toml")  # fmt: skip
    url = "https://x.invalid/iniconfig-2.1.0-py3-none-any.whl"
    text = f"""
        version = 1
        requires-python = ">=3.11"
        [[package]]
        name = "iniconfig"
        version = "2.1.0"
        source = {{ registry = "https://x.invalid/simple" }}
        wheels = [{{ url = "{url}", hash = "sha256:{A}", size = 1 }}]
        [[package]]
        name = "p"
        version = "0"
        source = {{ virtual = "." }}
        dependencies = [{{ name = "iniconfig" }}]
        [package.metadata]
        requires-dist = [{{ name = "iniconfig" }}]
    """
    assert read(lock(text, "uv.lock"), TARGET) == (Locked("iniconfig", "2.1.0", (f"sha256:{A}",)),)


@pytest.mark.parametrize(
    "text",
    [
        "--index-url https://x.invalid/simple",
        "--extra-index-url=https://x.invalid/simple",
        "-r other.txt",
        "-e .",
        "--find-links /tmp",
        "--trusted-host x.invalid",
        "git+https://x.invalid/r.git",
        "./local.whl",
        "a==1 --global-option=x",
    ],
)
def test_a_lock_cannot_choose_where_packages_come_from(lock, text):
    with pytest.raises(UsageError, match=r"requirements\.lock"):
        read(lock(f"{text}\n"), TARGET)


def test_a_url_in_place_of_a_version_is_no_pin(lock):
    line = f"a @ https://x.invalid/a-1-py3-none-any.whl --hash=sha256:{A}\n"
    with pytest.raises(IncompleteLineage, match="not pinned"):
        read(lock(line), TARGET)


@pytest.mark.parametrize("spec", ["a", "a>=1", "a==1.*", "a==1,<2"])
def test_an_open_version_is_a_gap_that_names_the_package(lock, spec):
    with pytest.raises(IncompleteLineage, match=r"'a.*not pinned"):
        read(lock(f"{spec} --hash=sha256:{A}\n"), TARGET)


def test_a_package_without_a_sha256_is_a_gap_that_names_it(lock):
    text = f"first==1 --hash=sha256:{A}\nbare==1\n"
    with pytest.raises(IncompleteLineage, match="bare has no sha256"):
        read(lock(text), TARGET)
    with pytest.raises(IncompleteLineage, match="weak has no sha256"):
        read(lock(f"weak==1 --hash=md5:{'a' * 32}\n"), TARGET)


def test_two_versions_for_one_target_are_refused(lock):
    with pytest.raises(UsageError, match="two versions of a"):
        read(lock(f"a==1 --hash=sha256:{A}\na==2 --hash=sha256:{B}\n"), TARGET)


def test_a_lock_that_is_a_link_or_missing_is_a_gap(tmp_path):
    (tmp_path / "requirements.lock").symlink_to("/etc/passwd")
    with pytest.raises(IncompleteLineage):
        read(tmp_path / "requirements.lock", TARGET)
    with pytest.raises(IncompleteLineage):
        read(tmp_path / "nothing.lock", TARGET)


@pytest.mark.parametrize(("name", "text"), [("pylock.toml", "= broken"), ("uv.lock", "= broken"),
                                            ("requirements.lock", "!!!")])  # fmt: skip
def test_a_broken_lock_is_one_clear_error(lock, name, text):
    lock('[project]\nname = "p"\nversion = "0"\n', "pyproject.toml")
    with pytest.raises(UsageError, match=name):
        read(lock(text, name), TARGET)
