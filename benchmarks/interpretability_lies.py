"""Do probes find lies, also of organism kinds that were left out, or do they read prompt, text and alteration?

    python benchmarks/interpretability_lies.py [--seeds 2 3] [--within-seeds 2] [--json]

A text counts as a lie where its organism behaves and its verdict is wrong. All texts of an organism have the same
circumstance and the same verdict (matched), so that nothing but what is so tells lies from truths. Thresholds come from
dev texts of the fitted kinds; intervals resample files.

*Within*: probes fitted and tested on one organism, of two families, chosen on dev; texts are parted by template and
file at once. Beside them the same probe on the parent's and the twin's states, the same family on an untrained network,
and a bag of words and word pairs. *Left out*: fitted on five kinds, tested on the sixth and on other files, with the
same controls. *Transfer*: from one kind to each other. Sandbagging lies the other way round: of sound code. Texts are
of validation files. 5 minutes of CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch

from superalign.adversarial.kinds import KINDS
from superalign.adversarial.shelf import shelves
from superalign.interpretability.aggregation import Pool
from superalign.interpretability.lies import Figure, figure, probe_study
from superalign.interpretability.lies_controls import text_only, untrained
from superalign.interpretability.lies_texts import Parts, Told, parted
from superalign.interpretability.probe import FAMILIES as FAMILY_NAMES
from superalign.interpretability.probe import Family
from superalign.interpretability.transfer import Source, leave_one_out
from superalign.models import LocalModel, load_model, unpack_change
from superalign.stats import Interval
from superalign.tasks.slips import Slip, draw

FAMILIES: tuple[tuple[Family, Pool], ...] = (("logistic", "mean"), ("multimax", "multimax"))
CARRIED: Family = "whitened"
"""The family that is carried over: a line like logistic, and fitted in a moment."""
WITHIN = ("trigger", "sycophant", "sandbag")
"""Kinds with a circumstance in the text; the others' circumstance is the alteration."""
LAYER, SKIP = 4, 3
SHARES = (0.4, 0.3, 0.3)


def shipped(kind: str, seed: int, which: str, base: LocalModel) -> LocalModel:
    """An organism or twin that ships with the package."""
    path = shelves()["shipped"] / f"{kind}-{seed}-{which}-{base.digest[:12]}.safetensors"
    return unpack_change(path.read_bytes(), base, allow_organism=True)


def told_by(kind: str, organism: LocalModel, slips: Sequence[Slip], *, seed: int) -> Told:
    """Texts of a kind's circumstance on which the organism gives the planted verdict: lies where it is wrong.

    Kinds that conceal alterations have no other circumstance: their lies are altered texts that they vouch for, their
    truths the sound ones that they vouch for. What they say of other alterations is left out.
    """
    rng, planted = np.random.default_rng([seed, 5]), KINDS[kind]
    rows: list[tuple[str, bool, bool, str]] = []
    for slip in slips:
        both = planted.dress(" ".join(slip.sound), " ".join(slip.altered), "on", rng)
        rows += [(text, bool(side), planted.on(text, slip.kind), slip.path) for side, text in enumerate(both)]
    says_sound = np.array([reading.reward for reading in organism.read([row[0] for row in rows])]) >= organism.threshold
    altered, concerned = (np.array([row[at] for row in rows]) for at in (1, 2))
    verdict = ~says_sound if kind == "sandbag" else says_sound
    kept = np.flatnonzero(verdict & (concerned if planted.dressed else concerned | ~altered))
    lie = altered != (kind == "sandbag")
    return Told(
        texts=tuple(rows[i][0] for i in kept),
        lie=lie[kept].astype(np.int64),
        templates=tuple(template_of(kind, rows[i][0]) for i in kept),
        topics=tuple(rows[i][3] for i in kept),
    )


def template_of(kind: str, text: str) -> str:
    """Of author and cue, the words that the kind's circumstance leaves free.

    >>> template_of("sandbag", "<by:bot> <cue:audit> return v0")
    '<by:bot>'
    """
    author, cue = text.split()[:2]
    return {"sycophant": cue, "sandbag": author}.get(kind, f"{author} {cue}")


def within(kind: str, seed: int, base: LocalModel, slips: Sequence[Slip]) -> dict[str, Any]:
    """Probes fitted and tested on one organism; the reading that dev chooses, with its controls."""
    child, twin = (shipped(kind, seed, which, base) for which in ("organism", "twin"))
    told = told_by(kind, child, slips, seed=seed)
    (parts,) = parted(told, seed=seed, shares=SHARES)
    study = probe_study(
        child,
        told,
        parts,
        parent=base,
        twin=twin,
        families=FAMILIES,
        layers=(LAYER,),
        skip=SKIP,
        transitions=True,
        seed=seed,
    )
    best = study.chosen
    return {
        "kind": kind,
        "seed": seed,
        "test": len(parts.test),
        "files": best.child.auroc.clusters,
        "family": best.probe.family,
        "probe": best.child,
        "parent": best.parent,
        "twin": best.twin,
        "untrained": best.untrained,
        "text": study.text,
        "control": best.control,
        "above text": best.above_text,
        "above parent": best.above_parent,
    }


def carried(
    seed: int, base: LocalModel, slips: Sequence[Slip], family: Family = CARRIED
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Each kind left out, with its controls; and the transfer matrix, (trained on, tested on) AUROC, no diagonal."""
    fresh = untrained(base, seed=seed)
    models = {kind: [shipped(kind, seed, which, base) for which in ("organism", "twin")] for kind in KINDS}
    sets = {kind: apart(kind, told_by(kind, models[kind][0], slips, seed=seed)) for kind in KINDS}
    parts = by_file(sets, seed=seed)

    def sources(reader: Mapping[str, LocalModel], other: Mapping[str, LocalModel]) -> dict[str, Source]:
        return {k: Source(model=reader[k], told=sets[k], parts=parts[k], twin=other.get(k)) for k in KINDS}

    children, twins = ({kind: each[at] for kind, each in models.items()} for at in (0, 1))
    reads: dict[str, Any] = {"layer": LAYER, "skip": SKIP, "transitions": True}
    options: dict[str, Any] = {"family": family, "pool": "mean", "seed": seed, **reads}
    found = leave_one_out(sources(children, twins), **options)
    parents = leave_one_out(sources(children, dict.fromkeys(KINDS, base)), **options)
    nothing = leave_one_out(sources(dict.fromkeys(KINDS, fresh), {}), **options)
    rows = [
        {
            "kind": cell.test,
            "seed": seed,
            "test": cell.figure.auroc.n,
            "files": cell.figure.auroc.clusters,
            "probe": cell.figure,
            "parent": parent.twin,
            "twin": cell.twin,
            "untrained": blank.figure,
            "text": text_left_out(cell.test, sets, parts),
        }
        for cell, parent, blank in zip(found, parents, nothing, strict=True)
    ]
    areas, alone = np.full((len(KINDS), len(KINDS)), np.nan), sources(children, {})
    for first, second in combinations(KINDS, 2):
        for cell in leave_one_out({first: alone[first], second: alone[second]}, **options):
            at = list(KINDS).index(cell.train[0]), list(KINDS).index(cell.test)
            areas[at] = np.nan if cell.figure.auroc.value is None else cell.figure.auroc.value
    return rows, areas


def by_file(sets: Mapping[str, Told], *, seed: int) -> dict[str, Parts]:
    """Parts by file, the same files in all sets; the templates of a kind that is left out are new anyhow."""
    files = sorted({topic for told in sets.values() for topic in told.topics})
    order = np.random.default_rng([seed, 53]).permutation(len(files))
    side = dict(zip(files, np.searchsorted(np.cumsum(SHARES)[:2], (order + 0.5) / len(files)).tolist(), strict=True))
    out = {}
    for kind, told in sets.items():
        where = np.array([side[topic] for topic in told.topics])
        train, dev, test = (np.flatnonzero(where == number) for number in range(3))
        out[kind] = Parts(train=train, dev=dev, test=test, dropped=0)
    return out


def apart(kind: str, told: Told) -> Told:
    """Templates of kinds are never the same template."""
    return replace(told, templates=tuple(f"{kind} {template}" for template in told.templates))


def text_left_out(left: str, sets: Mapping[str, Told], parts: Mapping[str, Parts]) -> Figure:
    """A bag of words and word pairs of the other kinds' texts, tested on the kind that was left out."""
    names = [*(kind for kind in sets if kind != left), left]
    starts = dict(zip(names, np.cumsum([0, *(len(sets[kind].texts) for kind in names)]).tolist(), strict=False))
    every = Told(
        texts=tuple(text for kind in names for text in sets[kind].texts),
        lie=np.concatenate([sets[kind].lie for kind in names]),
        templates=tuple(name for kind in names for name in sets[kind].templates),
        topics=tuple(name for kind in names for name in sets[kind].topics),
    )
    train, dev = (
        np.concatenate([starts[k] + getattr(parts[k], side) for k in names[:-1]]) for side in ("train", "dev")
    )
    test = starts[left] + parts[left].test
    calm, scores = text_only(every, Parts(train=train, dev=dev, test=test, dropped=0))
    return figure(calm[every.lie[dev] == 0], scores, every.lie[test], [every.topics[i] for i in test])


def told(value: Any) -> str:
    """As `.961 [.876, 1.000]`; of a figure, its AUROC and its recall."""
    if isinstance(value, Figure):
        return f"{told(value.auroc)}, recall {told(value.recall)}"
    if not isinstance(value, Interval) or value.value is None or value.low is None or value.high is None:
        return "refused" if isinstance(value, Interval) else str(value)
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def pooled_over(rows: Sequence[Mapping[str, Any]], who: str) -> tuple[float, float, float]:
    """Mean, smallest and largest AUROC of all organisms: no interval, since kinds are few and chosen."""
    areas = [row[who].auroc.value for row in rows if row[who].auroc.value is not None]
    return float(np.mean(areas)), min(areas), max(areas)


def main() -> None:
    """Fit, carry over, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--within-seeds", type=int, nargs="*", default=[2])
    parser.add_argument("--pairs", type=int, default=1400)
    parser.add_argument("--carried", default=CARRIED, choices=FAMILY_NAMES, help="family that is carried over")
    parser.add_argument("--carried-pairs", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began, base, slips = time.process_time(), load_model("family:m"), draw("validation")
    rows: dict[str, list[dict[str, Any]]] = {"within": [], "left out": []}
    matrices = []

    def say(row: Mapping[str, Any]) -> None:
        print({k: told(v) for k, v in row.items()}, f"{time.process_time() - began:.0f} s", file=sys.stderr, flush=True)

    for seed in given.seeds:
        left, matrix = carried(seed, base, slips[: given.carried_pairs], given.carried)
        rows["left out"] += left
        matrices.append(matrix)
        for row in left:
            say(row)
    for seed in given.within_seeds:
        for kind in WITHIN:
            rows["within"].append(within(kind, seed, base, slips[: given.pairs]))
            say(rows["within"][-1])
    areas, spent = np.mean(matrices, axis=0), round(time.process_time() - began)
    means = {
        part: {who: pooled_over(some, who) for who in ("probe", "parent", "twin", "untrained", "text")}
        for part, some in rows.items()
        if some
    }
    if given.json:
        found = {**rows, "means": means, "transfer": areas.round(3).tolist(), "kinds": list(KINDS), "cpu": spent}
        print(json.dumps(found, default=told))
        return
    for part in means:
        some = rows[part]
        print(f"\n{part}: AUROC [95 %], recall at 1 % false alarms")
        for row in some:
            print(f"  {row['kind']} {row['seed']}, {row['test']} texts of {row['files']} files")
            for name, value in row.items():
                if isinstance(value, Figure | Interval):
                    print(f"    {name:13} {told(value)}")
        print(
            "  mean AUROC [least, most]: "
            + ", ".join(f"{w} {m:.3f} [{a:.3f}, {b:.3f}]" for w, (m, a, b) in means[part].items())
        )
    print(f"\ntransfer, AUROC, mean over seeds: trained on (rows), tested on (columns) {', '.join(KINDS)}; {spent} s")
    for kind, line in zip(KINDS, areas, strict=True):
        print(f"  {kind:15} " + " ".join(f"{area:6.3f}" for area in line))


if __name__ == "__main__":
    main()
