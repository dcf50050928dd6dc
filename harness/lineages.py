"""The recorded lineage of a version: read back, trusted, and held against what is registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness import recipe
from harness.attestations import dsse, keys, statements
from harness.errors import IncompleteLineage, Tampered
from harness.files import entries, walk
from harness.model import Lineage, Role, Version
from harness.record import canonical, digest

LINEAGE = "lineage.intoto.json"


def read_lineage(
    documents: Mapping[str, bytes], tags: Mapping[str, str], version: Version, trust: keys.Trust
) -> tuple[Lineage, str]:
    """Return the trusted lineage of a version and its digest.

    Raises: IncompleteLineage when there is none or its signer is unknown; Tampered when its
    signature is bad or its digest is not the one that the version is tagged with.
    """
    data = documents.get(LINEAGE)
    if data is None:
        raise IncompleteLineage(
            f"{version.uri} has no recorded lineage",
            ("no lineage was recorded with this version",),
            f"harness adopt {version.uri} attaches one",
        )
    try:
        statement, _ = dsse.verify(data, trust, "recorder")
        lineage = statements.lineage(statement, version)
    except dsse.UnknownSigner as error:
        raise IncompleteLineage(error.message, (f"lineage: {error.message}",), error.hint) from None
    except dsse.BadEvidence as error:
        raise Tampered(f"lineage: {error.message}", (f"lineage: {error.message}",)) from None
    name = digest(data)
    tagged = tags.get("harness.lineage_digest", name)
    if tagged != name:
        reason = f"lineage: the tag says {tagged[:12]}, the statement is {name[:12]}"
        raise Tampered(reason, (reason,))
    return lineage, name


def check_intact(folder: Path, lineage: Lineage) -> None:
    """Hold downloaded artifacts against the signed manifest, file by file.

    Raises: Tampered naming every file that is changed, missing or added.
    """
    problems = []
    for role_folder, roles in (("model", {Role.MODEL}), ("other", set(Role) - {Role.MODEL})):
        root = folder / role_folder
        listed = {f.path: f for f in lineage.outputs if f.role in roles}
        found = {f.path: f for f in entries(root, walk(root), Role.REPORT)} if root.exists() else {}
        for path in sorted(listed.keys() | found.keys()):
            if path not in found:
                problems.append(f"{path}: missing from the registry")
            elif path not in listed:
                problems.append(f"{path}: not part of the recorded version")
            elif found[path].sha256 != listed[path].sha256:
                problems.append(f"{path}: no longer has its recorded sha256")
    if problems:
        raise Tampered("; ".join(problems), tuple(problems))


def tags(lineage: Lineage, name: str) -> dict[str, str]:
    """Return the search keys that a version with this lineage is tagged with, in order."""
    title = recipe.parse(lineage.recipe_text, lineage.recipe_path).name
    environment = canonical(lineage.environment)
    return {
        "harness.git.commit": lineage.code.commit,
        "harness.git.url": lineage.code.url[:4000],
        "harness.environment_digest": digest(environment),
        "harness.recipe": title,
        "harness.artifact_digest": lineage.artifact_digest,
        "harness.origin": lineage.origin,
        # Last: whoever sees this tag finds the statement that it names.
        "harness.lineage_digest": name,
    }
