"""The facts of a dossier in every form that people and other tools read."""

from __future__ import annotations

from collections.abc import Mapping

from harness.attestations.trust import parse_trust
from harness.dossier import bom, crate, page, paper
from harness.dossier.model import Dossier
from harness.errors import UsageError
from harness.record import digest

README = """This dossier answers: which model was it, made from which code and data, and can it be
made again? Start with dossier.html or dossier.pdf.

  dossier.json      the same facts for programs
  bom.cdx.json      the inventory: CycloneDX 1.6 ML-BOM
  ro-crate-metadata.json   every file and action: RO-Crate 1.1, Process Run Crate 0.5
  evidence/         the signed statements (DSSE, in-toto); reports/ of every verification
  policy.toml       what was asked of it; trust.toml: whose signatures counted
  index.json        every file with its sha256; index.intoto.json: the index, signed

To check all of it without any network, with the operator's own trust file:

  pip install repro-harness
  harness audit-verify DOSSIER --trust trust.toml

Take the trust file from the operator, not from here: a dossier cannot say whom to trust.
"""


def certain(value: Dossier, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the forms that are the same bytes wherever this release makes them."""
    return {
        "dossier.html": page.render(value, _people(files)).encode(),
        "bom.cdx.json": bom.render(value),
    }


def _people(files: Mapping[str, bytes]) -> dict[str, str]:
    trusted = parse_trust(files["trust.toml"].decode(), "trust.toml")
    return {key.keyid: key.name for key in trusted.keys}


def render(value: Dossier, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the readable files by name; `files` are those that the dossier has already."""
    people = _people(files)
    bound = f"The facts are dossier.json with sha256 {digest(files['dossier.json'])}."
    made = certain(value, files)
    absent = ""
    try:
        made["dossier.pdf"] = paper.render(value, bound, people)
    except UsageError as error:
        absent = f"\ndossier.pdf was not made: {error.message}; {error.hint}, then harness audit.\n"
    made["README.txt"] = (README + absent).encode()
    # The crate describes every file that lies beside it.
    return {**made, crate.NAME: crate.render(value, {**files, **made}, people)}
