"""The commands: Settings -> adapters -> one line of work -> a plain answer with its exit code."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness import code, evidence, policy, recipe, reporters
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.evidence import Finished, Signing
from harness.executor import data_plan
from harness.house import House
from harness.lineages import read_lineage
from harness.model import CodeRef, Decision, Lineage, Profile, Stage, Status, Version
from harness.pipeline import Line, Options
from harness.progress import Progress, Quiet, timed
from harness.record import canonical, digest, parse_record, plain
from harness.recording import RECIPE, Recorder, attach, gaps, pending
from harness.registries.base import Registry
from harness.settings import Settings

SCHEMA = 1
QUIET = Quiet()


def record(
    settings: Settings,
    path: Path,
    model: str,
    *,
    level: str | None = None,
    plan: bool = False,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Train from a clean commit in the locked environment and register the version."""
    house = House(settings, progress)
    ref = house.load(code, "git")(house.home).describe(path).ref
    recorder = Recorder(house.parts(ref.url), house.signing().key, house.home)
    if plan:
        return _record_plan(house, recorder, path, model)
    changes = (f"level={level}",) if level else ()
    done = recorder.record(path, model, changes)
    return _recorded(done.version, done.lineage, done.lineage_digest)


def _recorded(version: Version, lineage: Lineage, name: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": version.name,
        "version": version.number,
        "uri": version.uri,
        "lineage_digest": name,
        "artifact_digest": lineage.artifact_digest,
        "origin": lineage.origin,
        "commit": lineage.code.commit,
        "runtime": lineage.environment.runtime,
        "sandbox": lineage.sandbox,
        "outputs": plain(lineage.outputs),
        "exit_code": 0,
    }


def _record_plan(house: House, recorder: Recorder, path: Path, model: str) -> dict[str, Any]:
    ref, _ = recorder.clean(path)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "code")
        recorder.parts.code.checkout(ref, root)
        text = (root / ref.folder / RECIPE).read_text()
        plan = recipe.parse(text, RECIPE)
        objects = data_plan(recorder.parts, root, ref.folder, plan)[1].objects
    return {
        "schema": SCHEMA,
        "plan": [
            f"commit {ref.commit[:12]} of {ref.url}",
            f"{len(objects)} data objects, {sum(o.size or 0 for o in objects)} bytes",
            f"lock {plan.lock}, Python {plan.python}, runtime {recorder.parts.runtime.name}",
            f"train: {' '.join(plan.command or plan.stages or (plan.entry_point,))}",
            f"register a version of {model} in {recorder.parts.registry.uri}",
        ],
        "exit_code": 0,
    }


def adopt(
    settings: Settings,
    ref: str,
    *,
    repo: str,
    commit: str,
    recipe: Path,
    profile: str | None = None,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Attach lineage to a version that was trained elsewhere."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise UsageError(f"--commit {commit[:80]!r}: not a full commit id", "git rev-parse COMMIT")
    house = House(settings, progress)
    parts = house.parts(repo)
    version = parts.registry.resolve(ref)
    try:
        text = recipe.read_text()
    except OSError as error:
        raise UsageError(f"{recipe}: {error.strerror}", "name a recipe.toml") from None
    pinned = _profile(text, profile)
    url = str(Path(repo).resolve()) if Path(repo).is_dir() else repo
    url = f"file://{url}" if url.startswith("/") else url
    recorder = Recorder(parts, house.signing().key, house.home)
    with house.alone(version):
        done = recorder.adopt(version, CodeRef(url, commit), text, pinned)
    return _recorded(done.version, done.lineage, done.lineage_digest)


def _profile(text: str, level: str | None) -> Profile | None:
    if not level:
        return None
    from dataclasses import replace

    return replace(recipe.parse(text).profile, level=level)


def check(settings: Settings, ref: str, *, progress: Progress = QUIET) -> dict[str, Any]:
    """Say whether a version's lineage is complete and everything can still be had."""
    house = House(settings, progress)
    registry = house.registry()
    version = registry.resolve(ref)
    answer = {"schema": SCHEMA, "model": version.name, "version": version.number}
    try:
        documents, tags = registry.documents(version, "lineage"), registry.info(version).tags
        lineage, _ = read_lineage(documents, tags, version, house.signing().trust)
        with tempfile.TemporaryDirectory() as folder:
            found = gaps(house.parts(lineage.code.url), lineage, Path(folder, "code"))
    except HarnessError as error:
        reasons = getattr(error, "reasons", None)
        if reasons is None:
            raise
        missing = [{"what": r, "detail": "", "fix": error.hint} for r in reasons]
        return {**answer, "ok": False, "gaps": missing, "exit_code": error.exit_code}
    return {
        **answer,
        "ok": not found,
        "gaps": [plain(g) for g in found],
        "exit_code": 3 if found else 0,
    }


def verify(
    settings: Settings,
    ref: str,
    *,
    reruns: int | None = None,
    profile_set: tuple[str, ...] = (),
    resume: str | None = None,
    plan: bool = False,
    progress: Progress = QUIET,
) -> dict[str, Any]:
    """Make a registered version again and judge it; the main job."""
    house = House(settings, progress)
    registry = house.registry()
    version = registry.resolve(ref)
    signing, rules = house.signing(), house.policy()
    if plan:
        return _verify_plan(house, version, signing)
    origin = _origin(registry, version)
    options = Options(rules.reruns if reruns is None else reruns, profile_set, resume or "")
    with house.alone(version):
        line = Line(house.parts(origin), signing, rules, house.reporters(), house.home / "runs")
        finished = line.verify(version, options)
        published = _publish(finished, version, registry, progress)
    moved = _moved(registry, ref, version) if published else ""
    return _answer(finished, published, settings, moved)


def _origin(registry: Registry, version: Version) -> str:
    return str(registry.info(version).tags.get("harness.git.url", ""))


def _moved(registry: Registry, ref: str, version: Version) -> str:
    """Return a warning when the alias stands for another version by now."""
    try:
        current = registry.resolve(ref)
    except HarnessError:
        return f"{ref} no longer resolves; {version.uri} was verified"
    return "" if current == version else f"{ref} moved to {current.uri}; {version.uri} was verified"


def _publish(finished: Finished, version: Version, registry: Registry, progress: Progress) -> bool:
    try:
        with timed(progress, "publish"):
            evidence.publish(finished, version, registry)
    except InfrastructureError as error:
        progress.note(f"not published: {error.message}; `harness sync` publishes it later")
        return False
    return True


def _answer(
    finished: Finished, published: bool, settings: Settings, moved: str = ""
) -> dict[str, Any]:
    found = finished.record
    return {
        "schema": SCHEMA,
        "outcome": found["outcome"],
        "grade": found["grade"],
        "cause": found["cause"],
        "exit_code": policy.exit_code(found, finished.decision),
        "decision": plain(finished.decision),
        "published": published,
        "record_digest": finished.digest,
        "record": found,
        "reports": _copy_reports(finished, settings.output_dir),
        "warnings": [moved] if moved else [],
    }


def _copy_reports(finished: Finished, target: Path) -> dict[str, str]:
    """Put the reports where the user looks for them, under the verification's id."""
    from harness.files import write_atomic

    folder = target / str(finished.record["id"])
    _copy_statement(finished, folder)
    found = {}
    for source in sorted(finished.folder.glob("report.*")):
        write_atomic(folder / source.name, source.read_bytes())
        found[source.suffix.removeprefix(".")] = str(folder / source.name)
    return found


def _copy_statement(finished: Finished, folder: Path) -> None:
    """Put the signed statement beside the reports, which say that it lies there."""
    from harness.files import write_atomic

    source = finished.folder / evidence.STATEMENT
    if source.is_file():
        write_atomic(folder / source.name, source.read_bytes())


def _verify_plan(house: House, version: Version, signing: Signing) -> dict[str, Any]:
    registry = house.registry()
    documents, tags = registry.documents(version, "lineage"), registry.info(version).tags
    lineage, _ = read_lineage(documents, tags, version, signing.trust)
    size = sum(o.size for o in lineage.outputs)
    return {
        "schema": SCHEMA,
        "plan": [
            f"{version.uri}: {len(lineage.outputs)} artifacts, {size} bytes to re-hash",
            f"commit {lineage.code.commit[:12]} of {lineage.code.url}",
            f"{len(lineage.data)} data objects, {sum(d.size or 0 for d in lineage.data)} bytes",
            f"lock {lineage.environment.lock_sha256[:12]}, runtime {house.runtime().name}",
            f"policy {house.policy().uri} {house.policy().digest[:12]}",
        ],
        "exit_code": 0,
    }


def compare(
    settings: Settings,
    a: Path,
    b: Path,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    ignore: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Compare two files or folders, without any registry."""
    from harness.comparators import family
    from harness.model import Tolerance, ToleranceRule

    for path in (a, b):
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder", "name two that exist")
    rules = (ToleranceRule("*", rtol, atol, "command line"),) if rtol or atol else ()
    tree = family.compare(a, b, a.name, tolerance=Tolerance(rules, ignore))
    bad = {Status.DIFFERENT, Status.MISSING, Status.EXTRA}
    code = 1 if tree.status in bad else 3 if tree.status == Status.UNCOMPARABLE else 0
    notes = []
    if code == 0 and not tree.values:
        code, notes = 3, ["uncomparable: there is no value in either to compare"]
    return {
        "schema": SCHEMA,
        "status": tree.status,
        "notes": notes,
        "exit_code": code,
        "difference": plain(tree),
    }


def _find_record(house: House, name: str) -> Finished:
    """Return a record by its file, its digest or the id of its run."""
    path = Path(name)
    if not path.is_file():
        roots = list((house.home / "records").glob(f"*/{name}*/{evidence.RECORD}"))
        roots += [
            p
            for p in (house.home / "records").glob(f"*/*/{evidence.RECORD}")
            if not roots and parse_record(p.read_bytes(), str(p))["id"] == name
        ]
        if len(roots) != 1:
            raise UsageError(
                f"{name}: {len(roots)} records fit", "give a record.json, its digest or run id"
            )
        path = roots[0]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", "give a record.json") from None
    found = parse_record(content, str(path))
    if "record" in found:
        found = found["record"]
    decision = policy.decide(house.policy(), found)
    return Finished(found, digest(canonical(found)), path.parent, decision)


def report(settings: Settings, record: str, formats: tuple[str, ...]) -> dict[str, Any]:
    """Render a record again, in any format."""
    from harness.files import write_atomic

    house = House(settings, QUIET)
    found = _find_record(house, record)
    folder = settings.output_dir / str(found.record["id"])
    paths, texts, shown = {}, {}, plain(found.decision)
    _copy_statement(found, folder)
    age = house.policy().criteria(str(found.record["model"]), Stage.DEVELOPMENT).max_age
    if age is not None:
        shown["max_age"] = age
    for name in formats:
        reporter = house.load(reporters, name)()
        text = reporter.render(found.record, shown)
        path = folder / f"report{reporter.suffix}"
        write_atomic(path, text.encode())
        paths[name], texts[name] = str(path), text
    return {"schema": SCHEMA, "paths": paths, "texts": texts, "exit_code": 0}


def history(settings: Settings, ref: str) -> dict[str, Any]:
    """Return the trusted verdicts of a version over time, or of every version of a name."""
    house = House(settings, QUIET)
    registry, signing = house.registry(), house.signing()
    if "/" in ref or "@" in ref or ":" in ref:
        versions: tuple[Version, ...] = (registry.resolve(ref),)
    else:
        versions = registry.versions(ref)
    rows = [
        {
            "version": v.number,
            "verified_at": found["created_at"],
            "outcome": found["outcome"],
            "grade": found["grade"],
            "cause": found["cause"],
            "conditional": found["conditional"],
            "record_digest": name,
            "keyid": found["verifier"]["keyid"],
        }
        for v in versions
        for name, found in evidence.trusted_records(v, registry, signing)
    ]
    model = versions[0].name if versions else ref
    return {"schema": SCHEMA, "model": model, "rows": rows, "exit_code": 0}


def sync(settings: Settings, *, progress: Progress = QUIET) -> dict[str, Any]:
    """Publish every lineage and record that an interrupted or offline run left behind."""
    house = House(settings, progress)
    registry, signing = house.registry(), house.signing()
    done, failed = [], []
    for path in pending(house.home):
        try:
            done.append(attach(path, registry, signing.key).version.uri)
        except HarnessError as error:
            failed.append({"what": path.stem, "why": error.message})
    for found, folder in evidence.unpublished(signing.records):
        version = Version(registry.uri, found["model"], found["version"])
        name = f"{version.uri} {folder.name[:12]}"
        if found.get("registry") != registry.uri:
            failed.append({"what": name, "why": f"belongs to registry {found.get('registry')}"})
            continue
        decision = policy.decide(house.policy(), found)
        try:
            with house.alone(version):
                evidence.publish(Finished(found, folder.name, folder, decision), version, registry)
            done.append(name)
        except HarnessError as error:
            failed.append({"what": name, "why": error.message})
    code = 4 if failed else 0
    return {"schema": SCHEMA, "published": done, "failed": failed, "exit_code": code}


def decision(settings: Settings, found: Mapping[str, Any]) -> Decision:
    """Return what the policy in force makes of a record."""
    return policy.decide(House(settings, QUIET).policy(), found)
