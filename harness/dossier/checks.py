"""How anybody checks a dossier offline: command lines, ours and those of other people's tools."""

from __future__ import annotations

from dataclasses import dataclass

from harness.dossier.model import Dossier
from harness.dossier.told import said


@dataclass(frozen=True)
class Check:
    """One way to check: what it shows, and the commands."""

    title: str
    shows: str
    commands: str


OURS = """pip install repro-harness
harness audit-verify DOSSIER --trust trust.toml
harness audit-verify DOSSIER --trust trust.toml --model-dir MODEL_FOLDER"""
DSSE = """f=evidence/lineage/lineage.intoto.json      # or any other *.intoto.json
jq -r .payload "$f" | base64 -d > payload.json
jq -r '.signatures[0].sig' "$f" | base64 -d > signature.bin
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < payload.json)"
  cat payload.json; } > signed.bin
# an Ed25519 key:
openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in signed.bin -sigfile signature.bin
# an ECDSA P-256 key:
openssl dgst -sha256 -verify key.pem -signature signature.bin signed.bin"""
OMS = """pip install model-signing
openssl ecparam -name prime256v1 -genkey -noout -out any.pem   # any key: only the digest counts
model_signing sign key MODEL_FOLDER --no-ignore-git-paths --private_key any.pem \\
  --signature /tmp/model.sig
jq -r .dsseEnvelope.payload /tmp/model.sig | base64 -d | jq -r '.subject[0].digest.sha256'
# must print """
FILES = """sha256sum --check <(jq -r '.files[] | .sha256 + "  " + .path' index.json)"""


def ways(value: Dossier) -> list[Check]:
    """Return every way to check this dossier, ours first."""
    expected = said(value.lineage.get("artifact_digest"), "the digest (none was recorded)")
    return [
        Check(
            "Everything, with this tool and no network",
            "Every file has its signed digest, every statement its trusted signature, and the "
            "facts on this page follow from them. Take trust.toml from the operator, not from "
            "the dossier: a dossier cannot say whom to trust.",
            OURS,
        ),
        Check(
            "The files, without this tool",
            "Every file is the one that index.json lists; index.intoto.json is its signature.",
            FILES,
        ),
        Check(
            "A signature, without this tool",
            "The statement is the one that the holder of key.pem signed (DSSE, in-toto). key.pem "
            "is the key's public member in the operator's trust.toml. The file payload.json is "
            "then an in-toto statement that any in-toto tool reads.",
            DSSE,
        ),
        Check(
            "The model's files, without this tool",
            "The model folder at hand has the recorded digest, as OpenSSF Model Signing computes "
            "it. That digest binds contents and their order, not file names.",
            OMS + expected,
        ),
    ]
