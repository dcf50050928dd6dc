"""Approvals, promotion, rollback, break-glass: signed, in order, and visible for ever."""

import pytest

from harness import stages
from harness.attestations import governance
from harness.errors import InfrastructureError
from harness.model import Cause, Outcome, Stage, Verdict
from harness.registries.mlflow import MlflowRegistry

APPROVED = (
    'schema = 1\nminimum_grade = "TOLERANCE"\n[[rule]]\nstages = ["Production"]\napprovals = 1\n'
)


def alias(bank, stage):
    try:
        return bank.registry.resolve(f"models:/M@{stage}").number
    except Exception:
        return None


def promoted(bank, run, version, to="Production"):
    bank.judged(version)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    if to == "Production":
        code, answer, err = run("ada", "approve", version.uri, "--to", to, "--reason", "read it")
        assert code == 0, err
        code, answer, err = run("vera", "promote", version.uri, "--to", to)
        assert code == 0, (answer, err)
    return version


def tag(bank, version):
    return bank.registry.info(version).tags.get("harness.stage")


def test_the_whole_way_and_back(bank, run, gate):
    bank.policy(APPROVED)
    first = promoted(bank, run, bank.version(content=b"one"))
    assert (alias(bank, "production"), alias(bank, "staging")) == ("1", None)
    second = promoted(bank, run, bank.version(content=b"two"))
    assert (alias(bank, "production"), tag(bank, first), tag(bank, second)) == (
        "2",
        "Archived",
        "Production",
    )
    assert gate(second, "Production")[0] == 0
    bank.judged(second, verdict=Verdict(Outcome.DIVERGED, cause=Cause.STABLE))
    code, _against, answer = gate(second, "Production")
    assert code == 1
    assert "--rollback" in answer["way_back"]
    words = ("promote", "models:/M@production", "--to", "Production", "--rollback")
    assert run("vera", *words)[0] == 2, "without a reason"
    code, answer, err = run("vera", *words, "--reason", "2 lost its verdict")
    assert code == 0, err
    assert (answer["version"], answer["kind"], alias(bank, "production")) == ("1", "rollback", "1")
    assert gate(first, "Production")[0] == 0
    assert tag(bank, second) == "Archived"


def test_the_order_is_kept_and_approvals_are_asked_for(bank, run, gate):
    bank.policy(APPROVED)
    version = bank.version()
    bank.judged(version)
    assert gate(version, "Production")[1] == {"order", "approvals"}
    code, answer, _ = run("vera", "promote", version.uri, "--to", "Production")
    assert (code, alias(bank, "production"), answer["moved"]) == (5, None, False)
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0
    assert gate(version, "Production")[1] == {"approvals"}
    assert run("vera", "promote", version.uri, "--to", "Development")[0] == 2


def test_an_approval_before_the_last_verification_does_not_count(bank, run, gate):
    bank.policy(APPROVED)
    version = promoted(bank, run, bank.version(), "Staging")
    run("ada", "approve", version.uri, "--to", "Production", "--reason", "read it")
    assert gate(version, "Production")[0] == 0
    bank.judged(version)
    code, against, answer = gate(version, "Production")
    assert (code, against) == (5, {"approvals"})
    assert "before the last verification" in answer["findings"][0]["detail"]


def test_an_approval_of_a_twin_version_does_not_count(bank, run, gate):
    bank.policy(APPROVED)
    one, twin = (promoted(bank, run, bank.version(), "Staging") for _ in range(2))
    run("ada", "approve", one.uri, "--to", "Production", "--reason", "read it")
    moved = bank.registry.documents(one, "approvals")
    bank.registry.put_documents(twin, "approvals", moved, {})
    code, against, _ = gate(twin, "Production")
    assert code == 5
    assert {"signature", "approvals"} <= against


@pytest.mark.parametrize(
    ("author", "says"),
    [("Ada <ADA@bank.example>", "author of the training"), ("Dora <d@bank.example>", "")],
)
def test_nobody_approves_what_they_trained(bank, run, gate, author, says):
    bank.policy(APPROVED)
    version = promoted(bank, run, bank.version(author=author), "Staging")
    code, answer, _ = run("ada", "approve", version.uri, "--to", "Production", "--reason", "r")
    assert code == 0
    assert answer["counts"] == (not says)
    assert says in str(answer["findings"])


def test_one_person_under_two_names_is_one(bank, run, gate):
    from harness.attestations import keys

    bank.policy(APPROVED.replace("approvals = 1", "approvals = 2"))
    version = promoted(bank, run, bank.version(), "Staging")
    second = keys.create(bank.root / "ada2" / "keys" / "local.pem")
    keys.add(
        bank.trust_file,
        second.signer.public_key,
        "Augusta King",
        ("approver",),
        identity="ADA@bank.example",
        not_before="2026-01-01T00:00:00Z",
    )
    for person in ("ada", "ada2"):
        assert run(person, "approve", version.uri, "--to", "Production", "--reason", "r")[0] == 0
    assert gate(version, "Production")[1] == {"approvals"}
    assert run("alan", "approve", version.uri, "--to", "Production", "--reason", "r")[0] == 0
    assert gate(version, "Production")[0] == 0


def test_a_rejection_blocks_and_stays_visible(bank, run, gate):
    bank.policy(APPROVED)
    version = promoted(bank, run, bank.version(), "Staging")
    run("ada", "approve", version.uri, "--to", "Production", "--reason", "fine")
    run("alan", "reject", version.uri, "--to", "Production", "--reason", "bias not assessed")
    code, against, answer = gate(version, "Production")
    assert (code, against) == (5, {"rejected"})
    assert "bias not assessed" in str(answer["findings"])
    assert run("vera", "reject", version.uri, "--to", "Production", "--reason", "r")[0] == 5


def test_an_alias_moved_by_hand_is_named_and_put_back(bank, run, gate):
    bank.policy(APPROVED)
    first = promoted(bank, run, bank.version(content=b"one"))
    second = promoted(bank, run, bank.version(content=b"two"), "Staging")
    bank.registry.set_alias(second, "production")
    for version in (first, second):
        code, against, _ = gate(version, "Production")
        assert code == 5
        assert "alias" in against
    assert run("vera", "promote", first.uri, "--to", "Production")[0] == 0
    assert alias(bank, "production") == "1"
    assert gate(first, "Production")[0] == 0


def test_a_stage_tag_set_by_hand_is_named(bank, run, gate):
    version = promoted(bank, run, bank.version(), "Staging")
    bank.registry.set_tags(version, {"harness.stage": "Production"})
    assert "tags" in gate(version)[1]


@pytest.mark.parametrize("broken", ["set_alias", "set_tags", "keep"])
def test_a_registry_that_fails_midway_is_finished_by_the_same_command(
    bank, run, gate, monkeypatch, broken
):
    bank.policy(APPROVED)
    first = promoted(bank, run, bank.version(content=b"one"))
    second = promoted(bank, run, bank.version(content=b"two"), "Staging")
    run("ada", "approve", second.uri, "--to", "Production", "--reason", "read it")

    def away(*args, **kwargs):
        raise InfrastructureError("the registry went away")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowRegistry, broken, away)
        assert run("vera", "promote", second.uri, "--to", "Production")[0] == 4
    if broken == "keep":
        assert alias(bank, "production") == "1"
    code, answer, err = run("vera", "promote", second.uri, "--to", "Production")
    assert code == 0, (answer, err)
    assert (alias(bank, "production"), tag(bank, first), tag(bank, second)) == (
        "2",
        "Archived",
        "Production",
    )
    assert gate(second, "Production")[0] == 0


def test_of_two_promotions_at_once_one_wins_and_the_other_moves_nothing(bank, run, monkeypatch):
    one, two = (bank.version(content=c) for c in (b"one", b"two"))
    for version in (one, two):
        bank.judged(version)
    keep = MlflowRegistry.keep

    def meanwhile(self, name, documents):
        """Let another host's promotion come in between reading the chain and writing to it."""
        monkeypatch.setattr(MlflowRegistry, "keep", keep)
        monkeypatch.setattr(
            stages, "alone", lambda home, model: __import__("contextlib").nullcontext()
        )
        assert run("otto", "promote", one.uri, "--to", "Staging")[0] == 0
        __import__("time").sleep(1.1)
        for key in ("HARNESS_HOME",):
            monkeypatch.setenv(key, str(bank.root / "vera"))
        return keep(self, name, {n: later(d) for n, d in documents.items()})

    def later(data):
        return data

    monkeypatch.setattr(MlflowRegistry, "keep", meanwhile)
    codes = {run("vera", "promote", two.uri, "--to", "Staging")[0]}
    winner = alias(bank, "staging")
    monkeypatch.undo()
    moves = bank.registry.kept("M")
    assert len(moves) == 2, "both signed; the chain decides"
    assert codes == ({5} if winner == "1" else {0})


def test_on_one_host_the_second_promotion_is_refused(bank, run):
    version = bank.version()
    bank.judged(version)
    with stages.alone(bank.root / "vera", "M"):
        code, _, err = run("vera", "promote", version.uri, "--to", "Staging")
    assert code == 5
    assert "under way" in err
    assert run("vera", "promote", version.uri, "--to", "Staging")[0] == 0


def test_break_glass_is_loud_and_stays_so(bank, run, gate):
    bank.policy(APPROVED)
    version = bank.version()
    words = ("promote", version.uri, "--to", "Production", "--break-glass")
    assert run("ada", *words)[0] == 2, "without a reason"
    assert run("vera", *words, "--reason", "outage")[0] == 5, "not an approver"
    assert alias(bank, "production") is None
    code, answer, err = run("ada", *words, "--reason", "outage INC-7")
    assert code == 0, err
    assert answer["kind"] == "break-glass"
    found = gate(version, "Production")
    assert "break-glass" in found[1]
    assert "INC-7" in str(found[2]["findings"])
    assert run("ada", "promote", version.uri, "--to", "Production")[0] == 5
    bank.judged(version)
    run("alan", "approve", version.uri, "--to", "Production", "--reason", "validated since")
    code, answer, err = run("vera", "promote", version.uri, "--to", "Production")
    assert (code, answer["kind"]) == (0, "promote"), (answer, err)
    assert gate(version, "Production")[0] == 0


def test_no_emergency_lets_a_tampered_version_through(bank, run):
    version = bank.version()
    bank.judged(version)
    (stored,) = bank.root.rglob("model/model.bin")
    stored.write_bytes(b"other")
    words = ("promote", version.uri, "--to", "Production", "--break-glass", "--reason", "r")
    code, _, err = run("ada", *words)
    assert code == 5
    assert "no emergency" in err


def test_a_deleted_move_is_missed(bank, run, gate):
    bank.policy(APPROVED)
    promoted(bank, run, bank.version(content=b"one"))
    second = promoted(bank, run, bank.version(content=b"two"), "Staging")
    kept = sorted(bank.root.rglob("move-*.intoto.json"))
    assert len(kept) == 3
    first = next(p for p in kept if governance_previous(p) == "")
    first.unlink()
    assert "chain" in gate(second)[1]


def governance_previous(path):
    import base64
    import json

    statement = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
    return governance.read(governance.Move, statement).previous


def test_the_requester_may_not_be_the_approver(bank, run):
    from harness.attestations import keys

    bank.policy(APPROVED)
    version = promoted(bank, run, bank.version(), "Staging")
    text = bank.trust_file.read_text().replace('["approver"]', '["approver", "verifier"]')
    bank.trust_file.write_text(text)
    run("ada", "approve", version.uri, "--to", "Production", "--reason", "r")
    code, answer, _ = run("ada", "promote", version.uri, "--to", "Production")
    assert code == 5
    assert "asks for the promotion" in str(answer["findings"])
    assert run("vera", "promote", version.uri, "--to", "Production")[0] == 0
    assert keys.read_trust(bank.trust_file)


def test_archiving_takes_the_alias_away(bank, run):
    version = promoted(bank, run, bank.version(), "Staging")
    assert run("vera", "promote", version.uri, "--to", "Archived")[0] == 0
    assert (alias(bank, "staging"), tag(bank, version)) == (None, "Archived")


def test_stage_names_carry_their_alias():
    assert [s.alias for s in Stage] == ["", "staging", "production", ""]
