"""The digest of a model, held against model-signing: it signs the very same one."""

import base64
import json
import sys
from pathlib import Path

import model_signing
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import dossiers

from harness.attestations import governance, statements
from harness.files import entries, root_digest, walk
from harness.model import Role

TREES = {
    "one file": {"model.bin": b"weights"},
    "nested": {"MLmodel": b"flavor", "data/model.pth": b"weights", "code/a/b.py": b"pass"},
    "unicode": {"größe.bin": b"1", "層/重み.bin": b"2", "Z": b"3", "_": b"4"},
    "names that sort another way as text": {"a/b": b"1", "a-b": b"2", "a.b": b"3", "ab": b"4"},
    "empty file": {"empty": b"", "full": b"x"},
    "hidden": {".config/x": b"1", "sub/.gitattributes": b"2"},
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Make a key pair as other people's tools have them: two PEM files."""
    folder = tmp_path_factory.mktemp("pair")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "private.pem").write_bytes(private)
    (folder / "public.pem").write_bytes(public)
    return folder


def grown(root, files):
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def signed_by_oms(model, pair, **hashing):
    """Sign a folder with model-signing and return the digest that it signed."""
    config = model_signing.signing.Config().use_elliptic_key_signer(
        private_key=pair / "private.pem"
    )
    signature = model.parent / "model.sig"
    if hashing:
        ways = model_signing.hashing.Config().set_ignored_paths(paths=[], **hashing)
        config = config.set_hashing_config(ways)
    config.sign(model, signature)
    envelope = json.loads(signature.read_text())["dsseEnvelope"]
    (subject,) = json.loads(base64.b64decode(envelope["payload"]))["subject"]
    return subject["digest"]["sha256"]


def checked_by_oms(model, pair):
    model_signing.verifying.Config().use_elliptic_key_verifier(
        public_key=pair / "public.pem"
    ).verify(model, model.parent / "model.sig")


def ours(model):
    return root_digest(entries(model, walk(model), Role.MODEL))


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_our_root_digest_is_the_one_that_model_signing_signs(tree, tmp_path, pair):
    model = grown(tmp_path / "M", tree)
    assert ours(model) == signed_by_oms(model, pair)
    checked_by_oms(model, pair)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_one_changed_byte_is_another_digest_and_fails_model_signing(tree, tmp_path, pair):
    model = grown(tmp_path / "M", tree)
    before = signed_by_oms(model, pair)
    last = max(tree)
    (model / last).write_bytes(tree[last] + b"!")
    assert ours(model) != before
    with pytest.raises(ValueError, match="mismatch"):
        checked_by_oms(model, pair)


def test_an_extra_file_fails_model_signing(tmp_path, pair):
    """The reason why lineage and verdicts lie outside the model folder."""
    model = grown(tmp_path / "M", TREES["nested"])
    signed_by_oms(model, pair)
    (model / "lineage.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"[Ee]xtra"):
        checked_by_oms(model, pair)


def test_git_files_are_equal_only_when_model_signing_is_told_to_sign_them(tmp_path, pair):
    """By default it leaves out `.gitattributes` and the like at the top; we leave out nothing."""
    model = grown(tmp_path / "M", {".gitattributes": b"* -text", "model.bin": b"w"})
    assert ours(model) != signed_by_oms(model, pair)
    assert ours(model) == signed_by_oms(model, pair, ignore_git_paths=False)


def manifest(model):
    """Return what approvals and moves are bound to: paths together with their digests."""
    found = dossiers.lineage(outputs=entries(model, walk(model), Role.MODEL))
    return governance.binding(found.version, found, "7" * 64).manifest


@pytest.mark.parametrize(
    "renamed",
    [
        {"c": b"1", "d": b"2", "e": b"1"},  # other names in the same order
        {"a": b"1", "b/x": b"2", "b0": b"1"},  # another shape
    ],
)
def test_other_names_keep_the_root_digest_but_not_our_manifest(renamed, tmp_path, pair):
    """So the root digest is never the identity that anything relies on."""
    model = grown(tmp_path / "M", {"a": b"1", "b": b"2", "c": b"1"})
    other = grown(tmp_path / "other" / "M", renamed)
    assert ours(model) == ours(other) == signed_by_oms(model, pair) == signed_by_oms(other, pair)
    assert manifest(model) != manifest(other)


def test_two_files_that_swap_names_have_another_manifest(tmp_path):
    model = grown(tmp_path / "M", {"a": b"1", "b": b"2", "c": b"1"})
    other = grown(tmp_path / "other" / "M", {"a": b"2", "b": b"1", "c": b"1"})
    assert manifest(model) != manifest(other)


def test_a_recorded_model_passes_model_signing_untouched(tmp_path, pair):
    """What a registry gives back is the very folder that the lineage's subject names."""
    from harness.registries.base import NewVersion
    from harness.registries.mlflow import MlflowRegistry

    made = grown(tmp_path / "made", TREES["nested"])
    registry = MlflowRegistry(f"sqlite:///{tmp_path / 'r.db'}", tmp_path)
    version = registry.register(NewVersion("M", made, None, {}, {}, {}))
    lineage = dossiers.lineage(outputs=entries(made, walk(made), Role.MODEL), version=version)
    subject = statements.provenance(lineage)["subject"][0]
    back = registry.download(version, tmp_path / "back" / "M")
    assert subject["digest"]["sha256"] == signed_by_oms(back, pair)
    checked_by_oms(back, pair)
    (back / "MLmodel").write_bytes(b"flavour")
    with pytest.raises(ValueError, match="mismatch"):
        checked_by_oms(back, pair)
