"""The command line: options -> Settings -> one call -> print -> exit code."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from harness import __version__
from harness.errors import HarnessError

# name -> (module, one line of help): only the command that is called is imported.
COMMANDS = {
    "demo": ("machine", "The main job on real input: records, reproduces, and fails honestly."),
    "doctor": ("machine", "What this machine can do, each line with its fix."),
    "init": ("machine", "Write a recipe and a lock from what the repository has."),
    "record": ("making", "Train from a clean commit and register the version with its lineage."),
    "adopt": ("making", "Attach lineage to a version that was trained elsewhere."),
    "check": ("judging", "Is the lineage complete, can everything still be had? No compute."),
    "verify": ("judging", "Make a registered version again and judge it: the main job."),
    "compare": ("judging", "Compare two files or folders, without a registry."),
    "gate": ("governing", "Is there signed evidence that lets a version have a stage?"),
    "approve": ("governing", "Sign your approval of a version for a stage."),
    "reject": ("governing", "Sign your rejection of a version for a stage."),
    "promote": ("governing", "Move a version to a stage after the gate, with its alias."),
    "audit": ("auditing", "Write the dossier of a version, for an auditor."),
    "audit-verify": ("auditing", "Check a dossier offline."),
    "report": ("reading", "Render a record again, in any format."),
    "history": ("reading", "Verdicts over time."),
    "sync": ("reading", "Publish what could not be published."),
    "keys": ("keys", "Signing keys and whom we trust."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import and return one command."""
        if name not in COMMANDS:
            return None
        module = import_module(f"harness.cli.{COMMANDS[name][0]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
def harness() -> None:
    """Prove that a registered model can be made again from its recorded lineage.

    Shell completion: eval "$(_HARNESS_COMPLETE=bash_source harness)"
    """


def main() -> None:
    """Run a command; every way to end has its exit code, and none is Python's own 1."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    try:
        result = harness.main(args=arguments, prog_name="harness", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except HarnessError as error:
        return _ended(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        return _ended("", 2, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except SystemExit:
        # click's answer to a reader that went away is exit code 1, which here means DIVERGED.
        return 4
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _ended(
            f"{where}{error.strerror or error}\n"
            "  next: make room or correct the permissions, then run the same command again; "
            "nothing was left half-written",
            4,
        )
    except Exception as error:
        return _our_bug(error, "--verbose" in arguments or "-v" in arguments)


def _ended(said: str, code: int, told: str = "") -> int:
    """Say why a command ended without an answer, to the CI service too; return the exit code."""
    from harness.cli.ci import failed
    from harness.cli.options import shown

    if said:
        click.echo(f"error: {shown(said)}", err=True)
    failed(told or said, code)
    return code


def _our_bug(error: Exception, verbose: bool) -> int:
    """Say that it was us: a bug is never a verdict."""
    if verbose:
        import traceback

        traceback.print_exception(error)
    return _ended(
        f"{type(error).__name__}: {error}\n"
        "  this is our own or the machine's fault, not a verdict\n"
        "  next: try again with --verbose, and report it",
        4,
    )
