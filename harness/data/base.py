"""The seam of the data sources: bring the recorded data and prove what was brought."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.model import DataObject, Gap


@dataclass(frozen=True)
class DataPlan:
    """What a checkout tracks: the inputs to bring, and what is never brought in.

    `objects` are the inputs by file (directories expanded where their manifest is at hand, else
    one object whose md5 ends in `.dir`); `made` are the paths that the training's own stages
    make (pipeline outs).
    """

    objects: tuple[DataObject, ...]
    made: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()


class DataSource(Protocol):
    """A data version control system."""

    def plan(
        self,
        checkout: Path,
        targets: tuple[str, ...] | None,
        own: tuple[str, ...] | None = None,
    ) -> DataPlan:
        """Read what the commit tracks; `targets` None means all; no network.

        `own` names the pipeline stages that the training runs (None: all of them): what those
        make is in `made` and never an input; what other stages made may be.
        """
        ...

    def stage_commands(
        self, checkout: Path, stages: tuple[str, ...]
    ) -> tuple[tuple[str, ...], ...]:
        """Return the commands of the named pipeline stages, in order."""
        ...

    def missing(self, checkout: Path, plan: DataPlan) -> tuple[Gap, ...]:
        """Return a gap for every object that its remote no longer has; downloads no object."""
        ...

    def fetch(self, checkout: Path, plan: DataPlan) -> tuple[DataObject, ...]:
        """Copy every object into the checkout, re-hashed once: md5 checked, sha256 filled in.

        Raises: SourceUnavailable naming each object that is missing or corrupt, and where.
        """
        ...
