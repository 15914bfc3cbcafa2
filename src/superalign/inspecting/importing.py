"""An Inspect log as evidence: `.eval` → the log's SHA-256, its samples, dataset and weights, and Measurements.

    with Workspace.open(path) as ws:
        found = import_log(ws, Path("log.eval"), role="validation", provenance="written by us in May, never published")
        found.measurements                                    # sequence numbers in the ledger

The model is known by the digest in its name (superalign's own models), else as *unseen*: nobody has seen its weights.
The dataset is known by a digest over its samples; where the ledger knows what such a dataset holds, its scorer is of
that family, so that a model that was trained on it is refused (R1). What nobody said the provenance of counts as
tainted by everything (R5), data and model alike. All metrics are recomputed from the samples, clustered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superalign.evidence import ROLES, Signal, SuperalignError, Workspace, is_digest, sha256
from superalign.evidence.canonical import canonical
from superalign.evidence.store import MAX_JSON
from superalign.inspecting.naming import split_name
from superalign.inspecting.reading import LogUnfit, read_log
from superalign.pipeline.imported import measure_imported

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample

OWN = "superalign"
"""Key of a log's metadata under which superalign's own tasks say what they are."""
UNSEEN = "unseen"
MADE = 50_000
"""Samples, at most, that are made again to compare a log's with them: a larger log of ours counts as a stranger's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came in."""

    log: str
    """SHA-256 of the log's bytes, which are in the store."""
    subject: str
    """`name@digest` of the model that was measured."""
    dataset: str
    """Digest over its samples."""
    samples: int
    failures: int
    """Of them, without any score."""
    measurements: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the samples come from."""

    task: str
    dataset: str
    families: tuple[str, ...]
    """What the dataset holds; none: nobody said."""
    name: str


def import_log(
    ws: Workspace,
    path: Path,
    *,
    role: str,
    provenance: str = "",
    base: str = "",
    data: Path | None = None,
    say: Any = lambda text: None,
) -> Imported:
    """Take a log into the ledger. `provenance` says where a stranger's dataset comes from, `base` where an unseen model
    does (the notary declares it a common base); without them the firewall refuses, by R5. `data`: the data file of your
    own that the log's items are made of; a path that the log names is never opened.

    Raises LogUnfit for a file that is no finished log, FirewallError where the rules refuse; what was registered
    until then stays, and no number is written.
    """
    if role not in ROLES:
        raise LogUnfit(f"{role!r} is no role: use one of {', '.join(ROLES)}")
    log, read = read_log(path)
    samples = _samples_of(log, path)
    rows, scorers = [row_of(sample) for sample in samples], _scorers(samples)
    if not _numbered(rows) and any(isinstance(part, str | list) for sample in samples for part in _parts(sample)):
        raise LogUnfit(
            f"{path}: no score in it is a number, so nothing can be measured: score it by numbers, or C and I"
        )
    source = source_of(ws, log, samples, data)
    subject = register_learned(ws, register_subject(ws, log, samples, base=base), log, samples)
    signals = register_source(ws, source, scorers, role=role, provenance=provenance)
    told = canonical(
        {
            "task": source.task,
            "subject": subject,
            "role": role,
            "dataset": source.dataset,
            "signals": signals,
            "rows": rows,
            "reported": _reported(log),
            "cost": _cost(log),
        }
    )
    if len(told) > MAX_JSON:
        raise LogUnfit(f"{path}: the rows of {len(rows)} samples are over {MAX_JSON >> 20} MiB: evaluate in parts")
    raw, stored = ws.store.put(told), ws.store.put_file(path)
    if stored != read:
        raise LogUnfit(f"{path}: it changed while it was read: import it again, once nobody writes to it")
    say(f"{len(samples)} samples of {source.task}, {subject.partition('@')[0]}")
    with ws.ledger.transaction():
        for event in ws.ledger.events("run"):
            if event.body.get("imported") == raw and event.body.get("log") == stored:
                raise LogUnfit(f"{path}: this log was imported already, as event {event.seq}")
        body = {"imported": raw, "log": stored, "task": source.task, "role": role, "provenance": provenance.strip()}
        ws.ledger.append("run", body, actor="notary")
        seqs = measure_imported(ws, raw, log=stored)
    failures = sum(bool(row["failure"]) for row in rows)
    return Imported(
        log=stored,
        subject=subject,
        dataset=source.dataset,
        samples=len(samples),
        failures=failures,
        measurements=tuple(seqs),
    )


def _samples_of(log: EvalLog, path: Path) -> list[EvalSample]:
    if log.status != "success":
        raise LogUnfit(
            f"{path}: this evaluation is {log.status}: finish it (`inspect eval-retry`), then import its log"
        )
    if not log.samples:
        raise LogUnfit(f"{path}: it holds no samples, so nothing can be recomputed: evaluate with log_samples=True")
    return list(log.samples)


def dataset_digest(samples: Iterable[Any]) -> str:
    """SHA-256 over what is asked and what is right: id, input, choices and target of every sample, in order of ids.

    The same for the samples of a dataset and for those of a log of it, epochs apart.
    """
    told = {}
    for number, sample in enumerate(samples, start=1):
        name = str(number if sample.id is None else sample.id)  # as Inspect numbers samples that have no id
        shown = sample.input if isinstance(sample.input, str) else [[m.role, m.text] for m in sample.input]
        target = [sample.target] if isinstance(sample.target, str) else list(sample.target)
        told[name] = [shown, list(sample.choices or ()), target]
    return sha256(canonical(sorted([name, *told[name]] for name in told)))


def sample_digest(sample: EvalSample) -> str:
    """SHA-256 over one sample of a log: what was asked, what came of it, and how it was scored."""
    told = {
        "id": str(sample.id),
        "epoch": sample.epoch,
        "input": sample.input if isinstance(sample.input, str) else [[m.role, m.text] for m in sample.input],
        "target": sample.target,
        "messages": [[message.role, message.text] for message in sample.messages],
        "output": sample.output.completion,
        "error": sample.error.message if sample.error else None,
        "scores": {name: _json(score.value) for name, score in sorted((sample.scores or {}).items())},
    }
    return sha256(canonical(told))


def row_of(sample: EvalSample) -> dict[str, Any]:
    """What is kept of a sample to compute from: cluster, digest, scores as numbers, and how it failed."""
    from inspect_ai.scorer import value_to_float

    number, scores = value_to_float(), dict[str, dict[str, float | None]]()
    for name, score in (sample.scores or {}).items():
        parts = score.value if isinstance(score.value, Mapping) else {"": score.value}
        if not isinstance(score.value, list | tuple):
            scores[name] = {str(key): _number(number, value) for key, value in parts.items()}
    cluster = sample.metadata.get("cluster")
    failure = "errored" if sample.error else "" if scores else "no score"
    if sample.limit and not scores:
        failure = f"limit: {sample.limit.type}"
    told = {"id": str(sample.id), "epoch": sample.epoch, "cluster": str(sample.id if cluster is None else cluster)}
    return {**told, "digest": sample_digest(sample), "scores": {} if sample.error else scores, "failure": failure}


def _numbered(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(value is not None for row in rows for scores in row["scores"].values() for value in scores.values())


def _parts(sample: EvalSample) -> Iterator[Any]:
    for score in (sample.scores or {}).values():
        yield from score.value.values() if isinstance(score.value, Mapping) else (score.value,)


def _number(number: Any, value: Any) -> float | None:
    """A score as a number; None for what is none: Inspect takes such words, and lists, for 0."""
    if isinstance(value, str):
        known = value in ("C", "I", "P", "N") or value.lower() in ("yes", "no", "true", "false")
        return float(number(value)) if known else _read(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _read(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def source_of(ws: Workspace, log: EvalLog, samples: Sequence[EvalSample], data: Path | None) -> Source:
    """Task and dataset of a log, and which families the ledger, or superalign itself, knows the dataset to hold."""
    digest, named = dataset_digest(samples), log.eval.task.replace("/", " ")
    own = (log.eval.metadata or {}).get(OWN)
    families = tuple(sorted(f for f, _ in ws.state.graph.nodes[digest].holds)) if digest in ws.state.graph.nodes else ()
    if isinstance(own, Mapping) and not families:
        families = _own_family(own, samples, data)
    return Source(task=named, dataset=digest, families=families, name=log.eval.dataset.name or named)


def _own_family(own: Mapping[str, Any], samples: Sequence[EvalSample], data: Path | None) -> tuple[str, ...]:
    """The family that one of our tasks says its samples are of, if each of them is as we make it by that name."""
    from superalign.inspecting.asking import asked_samples
    from superalign.inspecting.items import drawn_of, samples_of

    try:
        drawn, asked = drawn_of(own["drawn"]), own.get("asked")
        ways = asked if asked is not None else [tuple(sides) for sides in own["seatings"]]
        if (drawn.own and data is None) or not 0 < drawn.items * len(ways) <= MADE:
            return ()
        drawn = replace(drawn, task=str(data)) if drawn.own else drawn
        found = samples_of(drawn, ways) if asked is None else asked_samples(drawn, ways)
        made = {str(sample.id): sample for sample in found}
        family = drawn.family
    except (KeyError, TypeError, ValueError, OSError, SuperalignError):
        return ()
    alike = all(str(s.id) in made and dataset_digest([s]) == dataset_digest([made[str(s.id)]]) for s in samples)
    return (family,) if alike else ()


def register_subject(ws: Workspace, log: EvalLog, samples: Sequence[EvalSample], *, base: str) -> str:
    """Register the model that a log is about; returns `name@digest`. Raises LogUnfit where outputs and name differ."""
    name, weights = measured_model(log, samples)
    digest = weights if is_digest(weights) else _whole_digest(ws, weights) if weights else ""
    seen = bool(digest)
    digest = digest or sha256(f"{UNSEEN} weights of {name}".encode())
    ws.node(kind="model", digest=digest, name=name, meta={"weights": "digest" if seen else UNSEEN}, actor="evaluator")
    if base:
        ws.base(digest, reason=base)
    return f"{ws.state.graph.nodes[digest].name}@{digest}"


def register_learned(ws: Workspace, subject: str, log: EvalLog, samples: Sequence[EvalSample]) -> str:
    """The judge that a protocol has trained (`inspecting.teaching`), a child of the model and fitted to its lesson too;
    the model itself where none was. A lesson that the log does not name is of unknown provenance (R5).
    """
    learned = sorted({str(told["learned"]) for told in map(_own_in, samples) if "learned" in told})
    if not learned:
        return subject
    own = (log.eval.metadata or {}).get(OWN)
    lesson = own.get("lesson") if isinstance(own, Mapping) else None
    family = str(lesson.get("family", "")).split("/") if isinstance(lesson, Mapping) else []
    base, name = subject.rpartition("@")[2], f"{subject.rpartition('@')[0]}, taught {log.eval.task.replace('/', ' ')}"
    source = sha256(canonical(["lesson", lesson]))
    ws.node(kind="data", digest=source, name=f"lesson of {log.eval.task.replace('/', ' ')}", actor="evaluator")
    if len(family) == 3 and all(family):
        ws.contains(source, families=[tuple(family)], name="lesson", actor="evaluator")  # type: ignore[list-item]
    digest = sha256(canonical([base, learned, source]))
    ws.node(kind="model", digest=digest, name=name, meta={"weights": "of a few numbers"}, actor="evaluator")
    for origin in (base, source):
        ws.use(origin, digest, "fit", actor="evaluator")
    return f"{name}@{digest}"


def measured_model(log: EvalLog, samples: Sequence[EvalSample]) -> tuple[str, str]:
    """Name and digest (empty: unseen) of the model that a log measures: the judge where there is one, else its model.

    Raises LogUnfit where the digests that outputs carry are several, or not the one in the name.
    """
    judged = {_judge_in(sample) for sample in samples} - {None}
    if len(judged) > 1:
        raise LogUnfit(f"{len(judged)} judges in one log: evaluate each by itself")
    judge = next(iter(judged), None)
    name = judge[0] if judge else log.eval.model
    provider, _, rest = name.partition("/")
    named = split_name(rest)
    if provider != "superalign" or not named.digest:
        return name, ""
    told = [judge[1]] if judge else [(sample.output.metadata or {}).get("weights") for sample in samples]
    said = {str(weights) for weights in told if weights}
    if len(said) > 1 or any(not weights.startswith(named.digest) for weights in said):
        raise LogUnfit(f"{name}: outputs in this log come from other weights: {', '.join(sorted(said))[:80]}")
    return named.address, next(iter(said), named.digest)


def _own_in(sample: EvalSample) -> Mapping[str, Any]:
    """What superalign's solver has left in a sample; empty where it left nothing."""
    told = sample.store.get(OWN)
    return told if isinstance(told, Mapping) else {}


def _judge_in(sample: EvalSample) -> tuple[str, str] | None:
    """Name and weights of a sample's judge, where it was played by superalign's solver."""
    if "judge" not in _own_in(sample):
        return None
    judge = _own_in(sample)["judge"]
    found = (judge.get("name"), judge.get("weights")) if isinstance(judge, Mapping) else (None, None)
    if not all(isinstance(part, str) for part in found):
        raise LogUnfit(f"sample {sample.id!r:.40} says of its judge what superalign never writes: evaluate it again")
    return found  # type: ignore[return-value]


def _whole_digest(ws: Workspace, beginning: str) -> str:
    """The model of the ledger whose digest begins so; empty where there is none, or two."""
    found = [d for d, node in ws.state.graph.nodes.items() if node.kind == "model" and d.startswith(beginning)]
    return found[0] if len(found) == 1 else ""


def register_source(
    ws: Workspace, source: Source, scorers: Iterable[str], *, role: str, provenance: str
) -> dict[str, str]:
    """Register dataset and scorers; scorer → digest of its signal. Raises FirewallError where a rule refuses."""
    families = source.families
    if not families and provenance.strip():
        families = (f"inspect/{_word(source.task)}/{role}",)
    if source.dataset not in ws.state.graph.nodes:
        meta = {"provenance": provenance} if provenance.strip() else {}
        ws.node(kind="data", digest=source.dataset, name=source.name, meta=meta, actor="evaluator")
    if families:
        ws.contains(
            source.dataset,
            families=[tuple(f.split("/")) for f in families],
            name=source.name,
            actor="evaluator",  # type: ignore[misc]
        )
    family, signals = families[0] if families else f"inspect/{_word(source.task)}/{role}", {}
    for scorer in scorers:
        digest = sha256(f"scorer {scorer} on {source.dataset} of {family} for {role}".encode())
        ws.signal(Signal(name=f"{source.task} by {scorer}", digest=digest, family=family, role=role, kind="labels"))
        ws.use(source.dataset, digest, "contains", actor="evaluator")
        signals[scorer] = digest
    return signals


def _word(task: str) -> str:
    from superalign.evidence.types import spelt

    return spelt(task.replace("/", " ")).replace(" ", "-") or "task"


def _scorers(samples: Sequence[EvalSample]) -> list[str]:
    found = sorted({name for sample in samples for name in sample.scores or ()})
    if not found:
        raise LogUnfit("no sample of this log has a score: score it first (`inspect score`)")
    return found


def _reported(log: EvalLog) -> dict[str, dict[str, float]]:
    """Scorer → value → the mean that the log reports, where it does: to be compared, never to be used."""
    found: dict[str, dict[str, float]] = {}
    for score in log.results.scores if log.results else ():
        key = "" if score.name == score.scorer else score.name
        for name in ("mean", "accuracy"):
            if name in score.metrics and math.isfinite(score.metrics[name].value):
                found.setdefault(score.scorer, {}).setdefault(key, float(score.metrics[name].value))
    return found


def _cost(log: EvalLog) -> dict[str, float]:
    usages = log.stats.model_usage.values()
    read, written = sum(u.input_tokens for u in usages), sum(u.output_tokens for u in usages)
    return {"tokens read": float(read), "tokens written": float(written)}
