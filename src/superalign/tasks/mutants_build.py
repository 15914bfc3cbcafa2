"""Builds the shipped mutants: plan, verify, confirm, balance, freeze. Stopped at any moment, it goes on where it was.

`superalign tasks mutants --out DIR` does it all with the Python whose library the splits were frozen on and which has
its `test` package; verdicts stay in DIR as JSON Lines to which lines are only added.

    plan      candidates of a split, each key as often as its mirror, kinds even, no file dominant
    verify    the tests that call the function fail on it; anything else than `killed` is dropped
    confirm   the witness alone fails on it again, in another process; what does not is flaky and dropped
    balance   couples on which the edit alone tells nothing, no two texts twice, shuffled singly (`mutants_balance`)
    freeze    mutants.jsonl.xz and the index that pins it, with what a rule of the surface reaches (`mutants_surface`)
"""

from __future__ import annotations

import hashlib
import json
import lzma
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superalign.tasks.executing import Job, MutantsError, Subject, Verdict, check_subject, execute, library_path
from superalign.tasks.faults import KINDS, Fault, Key, synthetic_faults
from superalign.tasks.item import SPLITS
from superalign.tasks.mutants import ARCHIVE, INDEX, Mutant, as_lines
from superalign.tasks.mutants_balance import balanced, edit_attacks
from superalign.tasks.mutants_surface import surface
from superalign.tasks.stdlib import index, source_files
from superalign.tasks.subjects import subjects

VERDICTS, CONFIRMED = "verdicts.jsonl", "confirmed.jsonl"
SIZES = {"train": 3600, "dev": 3000, "validation": 6400, "test": 4600}
"""Candidates planned of each split; what the sources do not offer is less."""
MODULE_SHARE = 0.14
"""Largest part of a split's candidates from one file."""
SLOW = {"tarfile.py": 160, "pydoc.py": 160, "http/server.py": 160, "asynchat.py": 60}
"""Caps on candidates of files whose tests take long."""
PER_FUNCTION, PER_KIND, BATCH = 48, 6, 150
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A fault of a file that nobody has executed yet."""

    id: str
    path: str
    fault: Fault


def candidates(path: str, source: str, *, seed: int = 0) -> list[Candidate]:
    """Faults of one file, at most `PER_FUNCTION` a function and `PER_KIND` of them of one kind."""
    rng = np.random.default_rng([seed, *path.encode()])
    faults = synthetic_faults(source, rng, per_function=PER_FUNCTION, per_kind=PER_KIND)
    return [Candidate(id=fault_id(path, fault), path=path, fault=fault) for fault in faults]


def fault_id(path: str, fault: Fault) -> str:
    """16 hex digits for a fault of a file, whatever order it was drawn in."""
    return hashlib.sha256("\0".join((path, fault.function, str(fault.start), fault.faulty)).encode()).hexdigest()[:16]


def plan(split: str, *, seed: int = 0) -> list[Candidate]:
    """Candidates of a split: each key as often as its mirror, kinds as even as the source allows, no file dominant."""
    rng = np.random.default_rng([seed, *split.encode()])
    files = source_files(split) | (source_files("corpus") if split == "train" else {})
    pool = [c for subject in subjects(split) for c in candidates(subject.path, files[subject.path], seed=seed)]
    queues = {kind: couples([c for c in pool if c.fault.kind == kind], rng) for kind in KINDS}
    room: Counter[str] = Counter()
    count = dict.fromkeys(KINDS, 0)
    chosen: list[Candidate] = []
    while len(chosen) < SIZES[split] and any(queues.values()):
        kind = min((k for k in KINDS if queues[k]), key=lambda k: count[k])
        couple = queues[kind].pop()
        if all(room[c.path] < min(SLOW.get(c.path, 10**6), MODULE_SHARE * SIZES[split]) for c in couple):
            room.update(c.path for c in couple)
            count[kind] += len(couple)
            chosen += couple
    return chosen


def couples(found: Sequence[Candidate], rng: np.random.Generator) -> list[list[Candidate]]:
    """Couples that read a → b and b → a, shuffled; what reads the same both ways stands alone."""
    by_key: dict[Key, list[Candidate]] = defaultdict(list)
    for candidate in found:
        by_key[candidate.fault.key].append(candidate)
    made: list[list[Candidate]] = []
    for key in sorted(by_key):
        mirror = (key[1], key[0])
        mine = [by_key[key][i] for i in rng.permutation(len(by_key[key]))]
        if key == mirror:
            made += [[c] for c in mine]
        elif key < mirror and mirror in by_key:
            other = [by_key[mirror][i] for i in rng.permutation(len(by_key[mirror]))]
            made += [list(pair) for pair in zip(mine, other, strict=False)]
    return [made[i] for i in rng.permutation(len(made))]


def build(out: Path, *, seed: int = 0, progress: Progress = lambda what, done, total: None) -> Mapping[str, Any]:
    """Make `mutants.jsonl.xz` and `mutants.json` in `out`, going on from the verdicts there; returns the index.

    Raises MutantsError when this Python has no `test` package or another library than the splits were frozen on.
    A file whose tests already fail is left out and named in the index.
    """
    library = library_path()
    planned = {split: plan(split, seed=seed) for split in SPLITS}
    check_library(library, {c.path for found in planned.values() for c in found})
    out.mkdir(parents=True, exist_ok=True)
    everything = [c for found in planned.values() for c in found]
    first, left_out = _tried(out / VERDICTS, [(c.path, _job(c)) for c in everything], library, progress)
    killed = [c for c in everything if c.id in first and first[c.id].outcome == "killed"]
    again, more = _tried(out / CONFIRMED, confirmations(killed, first), library, progress)
    home = {c.id: split for split, found in planned.items() for c in found}
    verified = [_mutant(c, first[c.id], home[c.id]) for c in killed if _proven(c, first[c.id].witness, again)]
    outcomes = Counter(v.outcome for v in first.values()) + Counter(unconfirmed=len(killed) - len(verified))
    outcomes["killed"] = len(verified)
    left_out = tuple(dict.fromkeys((*left_out, *more)))
    return freeze(out, verified, balanced(verified, seed=seed), outcomes=outcomes, left_out=left_out)


def confirmations(killed: Sequence[Candidate], first: Mapping[str, Verdict]) -> list[tuple[str, Job]]:
    """What proves them: the witness alone, on each fault, and once on its unparsed original."""
    jobs = [(c.path, _job(c, first[c.id].witness)) for c in killed]
    sound = {(c.path, first[c.id].witness): None for c in killed}
    return [(path, Job(id=_sound(path, witness), witness=witness)) for path, witness in sound] + jobs


def _sound(path: str, witness: str) -> str:
    return f"sound {path} {witness}"


def _proven(candidate: Candidate, witness: str, again: Mapping[str, Verdict]) -> bool:
    faulty, sound = again.get(candidate.id), again.get(_sound(candidate.path, witness))
    return bool(faulty and sound and faulty.outcome == "killed" and sound.outcome == "survived")


def check_library(library: Path, paths: set[str]) -> None:
    """Raises MutantsError unless every file of `paths` in `library` is the one that the splits were frozen on."""
    for path in sorted(paths):
        file = library / path
        pinned = index()["files"][path]["sha256"]
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != pinned:
            raise MutantsError(
                f"{path} of this Python's library is not the file that the splits were frozen on: "
                f"run the build with {index()['source']}"
            )


def _job(candidate: Candidate, witness: str | None = None) -> Job:
    fault = candidate.fault
    return Job(id=candidate.id, function=fault.function, start=fault.start, text=fault.faulty, witness=witness)


def _mutant(candidate: Candidate, verdict: Verdict, split: str) -> Mutant:
    fields = {name: getattr(candidate.fault, name) for name in Fault.__dataclass_fields__}
    return Mutant(path=candidate.path, split=split, witness=verdict.witness, error=verdict.error, **fields)


def _tried(
    log: Path, wanted: Sequence[tuple[str, Job]], library: Path, progress: Progress
) -> tuple[dict[str, Verdict], tuple[str, ...]]:
    """Verdicts of all (path, job), from the log and from new runs that are added to it; and why files were left out."""
    done = read_verdicts(log)
    todo: dict[str, list[Job]] = defaultdict(list)
    for path, job in wanted:
        if job.id not in done:
            todo[path].append(job)
    known = {subject.path: subject for split in SPLITS for subject in subjects(split)}
    left_out = []
    count, total = len(wanted) - sum(map(len, todo.values())), len(wanted)
    for path in sorted(todo, key=lambda path: (path in SLOW, path)):
        try:
            seconds = check_subject(known[path], library)
        except MutantsError as error:
            left_out.append(str(error).splitlines()[0])
            continue
        for verdict in _run(log, known[path], todo[path], library, min(10.0, 3 + 10 * seconds)):
            done[verdict.id] = verdict
            count += 1
            progress(path, count, total)
    return done, tuple(left_out)


def _run(log: Path, subject: Subject, jobs: Sequence[Job], library: Path, wall: float) -> Iterator[Verdict]:
    for at in range(0, len(jobs), BATCH):
        with log.open("a", encoding="utf-8") as file:
            for verdict in execute(subject, jobs[at : at + BATCH], library, wall=wall):
                file.write(json.dumps(asdict(verdict)) + "\n")
                yield verdict


def read_verdicts(log: Path) -> dict[str, Verdict]:
    """Verdicts by id; a last line that was cut off is passed over and cut off the file, its job is run again."""
    if not log.exists():
        return {}
    raw = log.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        log.write_bytes(whole)
    found = {}
    for number, line in enumerate(whole.decode("utf-8").splitlines(), start=1):
        try:
            verdict = Verdict(**json.loads(line))
        except (ValueError, TypeError) as error:
            why = f"{log}, line {number} is no verdict ({error}): delete the line, its job is run again"
            raise MutantsError(why) from None
        found[verdict.id] = verdict
    return found


def freeze(
    out: Path,
    verified: Sequence[Mutant],
    kept: Sequence[Mutant],
    *,
    outcomes: Mapping[str, int],
    left_out: Sequence[str] = (),
) -> Mapping[str, Any]:
    """Write archive and index, with what attackers reach (edit-only before and after balancing); returns the index."""
    ordered = [mutant for split in SPLITS for mutant in kept if mutant.split == split]
    packed = lzma.compress(as_lines(ordered).encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)
    (out / ARCHIVE).write_bytes(packed)
    made = {
        "source": index()["source"],
        "licence": "PSF-2.0, see LICENSE.cpython.txt: functions of CPython's Lib, each beside a version with one fault",
        "archive_sha256": hashlib.sha256(packed).hexdigest(),
        "corpus_sha256": index()["archive_sha256"],
        "splits_sha256": index()["splits_sha256"],
        "outcomes": dict(sorted(outcomes.items())),
        "verified": len(verified),
        "shipped": {split: sum(m.split == split for m in ordered) for split in SPLITS},
        "files": {split: sorted({m.path for m in ordered if m.split == split}) for split in SPLITS},
        "kinds": dict(sorted(Counter(m.kind for m in ordered).items())),
        "left_out": sorted(left_out),
        "edit_only": {
            name: [_rounded(asdict(attack)) for attack in edit_attacks(m)]
            for name, m in (("verified", verified), ("shipped", ordered))
        },
        "surface": surface(ordered),
    }
    (out / INDEX).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return made


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items()}
