"""`pytest --harness-verify models:/Name@staging`: every check of one verification is a test.

Nothing here does anything, or imports anything heavy, unless the option is given. The
verification runs in a process of its own: no warning filter, fixture or plugin of the tests
around it reaches it, and nothing that it imports reaches them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.reporters import words
from harness.reporters.checks import Check, checks

NAME = "harness"
# -P: a folder called harness where the tests are run is not this package.
COMMAND = (sys.executable, "-P", "-c", "from harness.cli import main; main()", "verify", "--json")
FLAGS = ("registry", "policy", "runtime")
TAIL = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup(NAME, "reproducibility of registered models")
    group.addoption(
        "--harness-verify",
        action="append",
        default=[],
        metavar="MODEL",
        help="verify MODEL (models:/Name/3, models:/Name@alias); each check is a test",
    )
    for name in FLAGS:
        group.addoption(
            f"--harness-{name}", metavar=name.upper(), help=f"as harness verify --{name}"
        )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark; refuse to verify once in each of several workers."""
    config.addinivalue_line("markers", f"{NAME}: a check of a verification (-m {NAME})")
    workers = hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None)
    if config.getoption("harness_verify") and workers:
        raise pytest.UsageError("--harness-verify runs one verification: run it without -n")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add the checks of each verification behind the tests that were found."""
    for model in config.getoption("harness_verify"):
        node = Verification.from_parent(session, name=model, nodeid=f"{NAME}::{model}")
        items.extend(node.collect())


class Verification(pytest.Collector):
    """One verification of one version."""

    def collect(self) -> Iterable[pytest.Item]:
        """Verify, and return a test for each check."""
        if self.config.option.collectonly:
            return [self._item(Check("verification", "skipped", "not run: --collect-only"), {})]
        code, text, tail = _run(self.config, self.name)
        try:
            answer = json.loads(text)
            record, decision = answer["record"], answer["decision"]
        except (ValueError, KeyError, TypeError):
            reason = f"no verdict, exit code {code}: {tail or 'the command said nothing'}"
            return [self._item(Check("verification", "error", reason), {})]
        found = list(_agreeing(checks(record, decision), code))
        return [self._item(check, answer) for check in found]

    def _item(self, check: Check, answer: dict[str, Any]) -> pytest.Item:
        item: CheckItem = CheckItem.from_parent(self, name=check.name, check=check)
        for key in ("outcome", "grade", "cause", "record_digest"):
            if answer.get(key):
                item.user_properties.append((f"{NAME}_{key}", answer[key]))
        item.add_marker(NAME)
        return item


class CheckItem(pytest.Item):
    """One check: passes, fails with the reason from the record, or could not be judged."""

    def __init__(self, *, check: Check, **more: Any) -> None:
        super().__init__(**more)
        self.check = check

    def setup(self) -> None:
        """Fail where nothing could be judged: pytest calls that an error and not a failure."""
        if self.check.status == "error":
            pytest.fail(self.check.reason, pytrace=False)

    def runtest(self) -> None:
        """Fail where the record says that this check did not pass."""
        if self.check.status == "skipped":
            pytest.skip(self.check.reason)
        if self.check.status != "passed":
            pytest.fail(self.check.reason, pytrace=False)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return what stands in the head of a failure."""
        return NAME, None, f"{self.parent.name if self.parent else ''} {self.check.name}"


def _agreeing(found: Iterable[Check], code: int) -> Iterator[Check]:
    """Yield the checks, and one more where they would pass although the command did not."""
    good = True
    for check in found:
        good &= check.status not in {"failed", "error"}
        yield check
    if good and code:
        yield Check("exit", "failed", f"harness verify ended with exit code {code}")


def _run(config: pytest.Config, model: str) -> tuple[int, str, str]:
    """Verify in a process of its own; return its exit code, its answer, and its last words."""
    command = [*COMMAND]
    for name in FLAGS:
        if value := config.getoption(f"harness_{name}"):
            command += [f"--{name}", value]
    reporter = config.pluginmanager.getplugin("terminalreporter")
    say = reporter.write_line if reporter and config.option.verbose >= 0 else lambda _: None
    tail: deque[str] = deque(maxlen=TAIL)
    with tempfile.TemporaryFile() as out, _started([*command, "--", model], config, out) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                shown = words.plain(line.rstrip(), 2000)
                tail.append(shown)
                # An annotation for a CI service stands at the start of its line.
                say(shown if shown.startswith("::") else f"{NAME}: {shown}")
            process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
        out.seek(0)
        return process.returncode, out.read().decode(errors="replace"), "\n".join(tail)


def _started(command: list[str], config: pytest.Config, out: Any) -> subprocess.Popen[str]:
    where: Path = config.invocation_params.dir
    return subprocess.Popen(
        command, cwd=where, stdout=out, stderr=subprocess.PIPE, text=True, errors="replace"
    )
