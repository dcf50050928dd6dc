"""Git is run with the operator's configuration, ours after it, and nothing of a hook's."""

import pytest

from harness.code.plumbing import Git, GitFailed, environment


def test_a_hooks_redirections_are_dropped(monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, "/elsewhere")
    assert "/elsewhere" not in environment(("https",)).values()


def test_the_operators_options_stay_and_ours_come_last(monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "/hooks")
    env = environment(("https", "ssh"))
    last = int(env["GIT_CONFIG_COUNT"])
    assert env["GIT_CONFIG_VALUE_0"] == "/hooks"
    keys = [env[f"GIT_CONFIG_KEY_{i}"] for i in range(last)]
    assert keys.count("core.hooksPath") == 2
    assert (
        env[f"GIT_CONFIG_VALUE_{len(keys) - 1 - keys[::-1].index('core.hooksPath')}"] == "/dev/null"
    )
    assert env["GIT_ALLOW_PROTOCOL"] == "https:ssh"


def test_only_the_named_folder_is_safe(tmp_path):
    env = environment((), tmp_path)
    safe = [k for k, v in env.items() if v == "safe.directory"]
    assert len(safe) == 1
    assert env[safe[0].replace("KEY", "VALUE")] == str(tmp_path)


def test_a_failure_carries_gits_last_words(tmp_path):
    with pytest.raises(GitFailed, match="not a git repository"):
        Git(tmp_path).bytes("rev-parse", "HEAD")
