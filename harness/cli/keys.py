"""`keys new`, `trust`, `list`, `revoke`, `sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import common, print_answer
from harness.progress import Progress
from harness.settings import Settings

ROLE = click.Choice(["recorder", "verifier", "approver", "policy"])
FILE = click.Path(path_type=Path)


@click.group()
def keys() -> None:
    """Signing keys, and whom this machine trusts.

    We sign with $HARNESS_SIGNING_KEY (the PEM itself, for CI), else with the file that
    $HARNESS_KEY_FILE or `key` in harness.toml names, else with this machine's own key.
    The trust file is $HARNESS_TRUST or `trust` in harness.toml, else this machine's own.
    """


@keys.command("new")
@click.argument("name")
@click.option("--algorithm", type=click.Choice(["ed25519", "ecdsa"]), default="ed25519")
@click.option("--output", "-o", type=FILE, help="Write the private key there; FILE.pub beside it.")
@common
def new(
    name: str,
    algorithm: str,
    output: Path | None,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Make a key pair called NAME; nothing is overwritten."""
    from harness import trusting

    answer = trusting.new(settings, name, algorithm, output)

    def text() -> str:
        return (
            f"key {answer['keyid']}\nprivate: {answer['private']} (mode 0600; it stays here)\n"
            f"public: {answer['public']}\nnext: harness keys trust {answer['public']} "
            f'--name "First Last" --identity you@example.org --role approver\n'
            f"      HARNESS_KEY_FILE={answer['private']} signs with it"
        )

    return print_answer(answer, as_json, text)


@keys.command("trust")
@click.argument("public", type=FILE)
@click.option("--name", required=True, help="Printed name, as signatures show it.")
@click.option("--identity", default="", help="Stable e-mail or account name of the person.")
@click.option("--role", "roles", type=ROLE, multiple=True, required=True, help="May be repeated.")
@click.option(
    "--not-before",
    default="",
    help="UTC, as 2026-01-31T09:00:00Z; else now: what it signed before does not count.",
)
@click.option("--not-after", default="", help="UTC; without it the key does not expire.")
@common
def trust(
    public: Path,
    name: str,
    identity: str,
    roles: tuple[str, ...],
    not_before: str,
    not_after: str,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Trust the PUBLIC key (PEM) of a person or machine, in the roles given."""
    from harness import trusting

    times = {"not_before": not_before, "not_after": not_after}
    answer = trusting.add(settings, public, name, roles, identity=identity, **times)
    said = [f"{answer['trust']}: trusts {_line(answer)}"]
    said += [f"warning: {w}" for w in answer["warnings"]]
    return print_answer(answer, as_json, lambda: "\n".join(said))


@keys.command("list")
@common
def listed(settings: Settings, progress: Progress, as_json: bool) -> int:
    """List the trusted keys: what each may do, from when to when."""
    from harness import trusting

    answer = trusting.listed(settings)

    def text() -> str:
        rows = _table([_cells(k) for k in answer["keys"]])
        mine, problem = answer["signing"], answer["signing_problem"]
        own = f"{mine['keyid'][:12]} ({mine['where']})" if mine else "no key yet; made on first use"
        head = f"{answer['trust']}:" if rows else f"{answer['trust']}: trusts nobody yet"
        return "\n".join([head, *rows, f"this machine signs with: {problem or own}"])

    return print_answer(answer, as_json, text)


def _cells(key: dict[str, Any]) -> list[str]:
    valid = f"{key['not_before'] or 'always'} to {key['not_after'] or 'no end'}"
    state = key["state"] + (f" {key['revoked_at']}" if key["revoked_at"] else "")
    person = [key["keyid"][:12], key["name"], key["identity"] or "-"]
    return [*person, ", ".join(key["roles"]), valid, state]


def _table(rows: list[list[str]]) -> list[str]:
    """Return rows under a head, in columns."""
    if not rows:
        return []
    rows = [["KEY", "NAME", "IDENTITY", "ROLES", "VALID", "STATE"], *rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]


def _line(key: dict[str, Any]) -> str:
    return "  ".join(_cells(key))


@keys.command("revoke")
@click.argument("keyid")
@click.option("--at", default="", help="UTC, as 2026-01-31T09:00:00Z; else now.")
@click.option("--reason", default="", help="Why; kept in the trust file.")
@common
def revoke(
    keyid: str, at: str, reason: str, settings: Settings, progress: Progress, as_json: bool
) -> int:
    """Revoke the key whose id begins with KEYID (8 characters at least).

    All that it signed is refused from now on, whatever time it claims. A key that only ends,
    and whose signatures stay good, gets a `not_after` in the trust file instead.
    """
    from harness import trusting

    answer = trusting.revoke(settings, keyid, at, reason)
    said = f"{answer['trust']}: {_line(answer)}\nall that it signed is refused from now on"
    return print_answer(answer, as_json, lambda: said)


@keys.command("sign")
@click.argument("file", type=FILE)
@common
def sign(file: Path, settings: Settings, progress: Progress, as_json: bool) -> int:
    """Sign an operator's FILE (policy.toml) with this machine's key: FILE.intoto.json."""
    from harness import trusting

    answer = trusting.sign(settings, file, progress)

    def text() -> str:
        warnings = [f"warning: {w}" for w in answer["warnings"]]
        return "\n".join([f"{answer['envelope']}: signed by {answer['keyid'][:12]}", *warnings])

    return print_answer(answer, as_json, text)
