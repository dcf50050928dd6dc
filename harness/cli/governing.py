"""`gate`, `approve`, `reject`, `promote`."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import common, print_answer
from harness.progress import Progress
from harness.settings import Settings

_TO = click.option("--to", required=True, metavar="STAGE", help="Staging, Production or Archived.")


@click.command()
@click.argument("model")
@_TO
@click.option("--verify", is_flag=True, help="Verify first where evidence is missing or stale.")
@click.option("--allow", multiple=True, metavar="FINDING", help="Waive a finding, signed by you.")
@click.option("--reason", default="", help="Why it is waived.")
@click.option("--expires", default="14d", show_default=True, help="How long the waiver holds.")
@click.option("--explain", is_flag=True, help="Show what is asked, what was found, and by whom.")
@common
def gate(
    model: str,
    to: str,
    verify: bool,
    allow: tuple[str, ...],
    reason: str,
    expires: str,
    explain: bool,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Is there signed evidence that lets MODEL have a stage? Exit 0 only when there is."""
    from harness import governing
    from harness.cli.ci import annotate

    answer = governing.gate(
        settings,
        model,
        to,
        verify=verify,
        allow=allow,
        reason=reason,
        expires=expires,
        progress=progress,
    )
    annotate(answer)
    return print_answer(answer, as_json, lambda: gate_text(answer, explain))


def gate_text(answer: dict[str, Any], explain: bool = False) -> str:
    """Return what the gate says, the reasons first."""
    name = f"{answer['model']}/{answer['version']}"
    word = "open" if answer["meets"] else "SHUT"
    lines = [f"gate to {answer['to']} for {name} ({answer['stage']}): {word}"]
    for finding in answer["findings"]:
        mark = f"waived by {finding['waived'][:12]}" if finding["waived"] else "against"
        lines.append(f"  {mark}: {finding['code']}: {finding['detail']}")
    lines += [f"  way back: {answer['way_back']}"] if answer["way_back"] else []
    if explain or answer["meets"]:
        lines += _explained(answer)
    return "\n".join([*lines, *(f"  note: {n}" for n in answer["notes"])])


def _explained(answer: dict[str, Any]) -> list[str]:
    verdict = " ".join(str(v) for v in (answer["outcome"], answer["grade"]) if v)
    lines = [
        f"  evidence: {verdict} at {answer['verified_at']}, record {answer['record_digest'][:12]}"
        if answer["record_digest"]
        else "  evidence: none"
    ]
    lines += [
        f"  {a['meaning']} by {a['printed_name']} at {a['created_at']}: {a['reason']}"
        for a in answer["approvals"]
    ]
    read = "read again" if answer["rehashed"] else "NOT read again: the policy does not ask for it"
    lines.append(f"  registered files: {read}")
    asked = ", ".join(
        f"{k} {_days(v) if k == 'max_age' else _shown(v)}"
        for k, v in answer["criteria"].items()
        if v not in (None, [])
    )
    policy = answer["policy"]
    return [*lines, f"  policy {policy['uri']} {policy['digest'][:12]}: {asked}"]


def _days(seconds: int) -> str:
    return f"{seconds / 86400:.3g} days"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " and ".join(_shown(v) for v in value)
    return (
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    )


def _sign(decision: str) -> Any:
    @click.argument("model")
    @_TO
    @click.option("--reason", required=True, help="What was reviewed, and why.")
    @common
    def command(
        model: str, to: str, reason: str, settings: Settings, progress: Progress, as_json: bool
    ) -> int:
        from harness import governing

        answer = governing.approve(
            settings, model, to, reason=reason, decision=decision, progress=progress
        )

        def text() -> str:
            name = f"{answer['model']}/{answer['version']}"
            line = f"{decision} {name} for {answer['to']} as {answer['printed_name']}"
            return f"{line} ({answer['digest'][:12]})\n{gate_text(answer)}"

        return print_answer(answer, as_json, text)

    return command


approve = click.command("approve", help="Sign your approval of MODEL for a stage.")(
    _sign("approved")
)
reject = click.command("reject", help="Sign your rejection of MODEL for a stage.")(
    _sign("rejected")
)


@click.command()
@click.argument("model")
@_TO
@click.option("--rollback", is_flag=True, help="Back to the last archived version that is good.")
@click.option("--break-glass", is_flag=True, help="Against the gate: an approver's emergency.")
@click.option("--reason", default="", help="Why; a rollback or an emergency needs it.")
@common
def promote(
    model: str,
    to: str,
    rollback: bool,
    break_glass: bool,
    reason: str,
    settings: Settings,
    progress: Progress,
    as_json: bool,
) -> int:
    """Move MODEL to a stage after the gate, with its alias; archive the version before it."""
    from harness import governing

    answer = governing.promote(
        settings,
        model,
        to,
        rollback=rollback,
        break_glass=break_glass,
        reason=reason,
        progress=progress,
    )

    def text() -> str:
        if answer["exit_code"]:
            return gate_text(answer)
        name = f"models:/{answer['model']}/{answer['version']}"
        if not answer["moved"]:
            return f"{name} stands at {answer['to']}; alias and tags say so"
        lines = [f"{name} is {answer['to']} now ({answer['kind']})"]
        if answer["kind"] == "break-glass":
            lines = [f"BREAK-GLASS: {lines[0]}, against the gate:"]
            lines += [f"  {f['code']}: {f['detail']}" for f in answer["findings"]]
            lines.append(f"  the gate stays shut until: harness promote {name} --to {answer['to']}")
        if answer["replaced"]:
            lines.append(f"models:/{answer['model']}/{answer['replaced']} is Archived")
        return "\n".join(lines)

    return print_answer(answer, as_json, text)
