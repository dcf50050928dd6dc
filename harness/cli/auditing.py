"""`audit`, `audit-verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import common, print_answer
from harness.progress import Progress
from harness.settings import Settings


@click.command()
@click.argument("model")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A new folder, or NAME.zip.")
@click.option("--alias", default="", help="The version that had this alias …")
@click.option("--at", default="", help="… at this time, such as 2026-09-01T12:00Z.")
@click.option("--verify", is_flag=True, help="Make the version again first.")
@click.option("--intended-use", default="", help="What the model is for, in your words.")
@click.option("--owner", default="", help="Who answers for it.")
@click.option("--risk-tier", default="", help="Your organisation's tier.")
@common
def audit(
    model: str,
    output: Path | None,
    alias: str,
    at: str,
    verify: bool,
    intended_use: str,
    owner: str,
    risk_tier: str,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Write the dossier of MODEL, or of the version that had an alias at a past time."""
    from harness import auditing, facts

    answer = auditing.audit(
        settings,
        model,
        output,
        alias=alias,
        at=at,
        verify=verify,
        subject=facts.Subject(intended_use, owner, risk_tier),
        progress=progress,
    )

    def text() -> str:
        name = f"models:/{answer['model']}/{answer['version']}"
        lines = [f"dossier of {name}: {answer['dossier']} ({answer['files']} files)"]
        lines += [f"  wrong in the evidence: {problem}" for problem in answer["problems"]]
        lines += [f"  warning: {warning}" for warning in answer["warnings"]]
        lines.append(f"  check it offline: harness audit-verify {answer['dossier']}")
        return "\n".join(lines)

    return print_answer(answer, as_json, text)


@click.command("audit-verify")
@click.argument("dossier", type=click.Path(path_type=Path))
@click.option("--trust", type=click.Path(path_type=Path), help="The operator's trust file.")
@click.option("--model-dir", type=click.Path(path_type=Path), help="Hold these files against it.")
@common
def audit_verify(
    dossier: Path,
    trust: Path | None,
    model_dir: Path | None,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Check DOSSIER offline, with nothing but its own files and the trust file."""
    from harness import offline

    answer = offline.audit_verify(settings, dossier, trust=trust, model=model_dir)
    return print_answer(answer, as_json, lambda: _checked(answer))


def _checked(answer: dict[str, Any]) -> str:
    name = f"models:/{answer['model']}/{answer['version']} in {answer['registry']}"
    word = "whole" if answer["whole"] else "NOT TO BE TRUSTED"
    lines = [f"dossier of {name}: {word}"]
    lines += [f"  wrong: {problem}" for problem in answer["problems"]]
    lines += [f"  proves: {line}" for line in answer["proves"]]
    lines += [
        f"  {'waived' if f['waived'] else 'against'}: {f['code']}: {f['detail']}"
        for f in answer["findings"]
    ]
    lines += [f"  does not prove: {line}" for line in answer["does_not_prove"]]
    return "\n".join([*lines, f"  trusted keys: {answer['trust']}"])
