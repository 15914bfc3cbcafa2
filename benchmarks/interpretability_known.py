"""Known answers: planted units with the right explanation, and a trained copier's heads.

    python benchmarks/interpretability_known.py [--seeds 300 … 311] [--copiers 300 … 304] [--json]

*Planted*: networks in which one unit fires on a token, a bigram, a place, a count or a repeat, by construction; five
kinds a seed. Rules are found on train texts; an explanation is right if on fresh texts of another distribution it says
when the unit is on, F1 .95 or more. Beside it the unigram table, which can be right about tokens only, and an
explainer that is given another unit of the same network.

*Copiers*: two-block networks trained to repeat random passages. The previous-token head has to be the best of its kind
and in block 0, the induction head in block 1; then the heads found are set to their mean, and the loss of the second
copy has to rise. *Others*, as many of the rest, are no control where few heads are left: a copier has four, and those
of one block work through those of the other. 2 minutes of CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from superalign.interpretability.copier import copier, untrained
from superalign.interpretability.corpus import Corpus
from superalign.interpretability.explanation import Explainer, Sample, drawn, read_sample
from superalign.interpretability.heads import Pattern, ablated, head_scores, repeated
from superalign.interpretability.known import KINDS, Known, suite
from superalign.interpretability.rules import rules
from superalign.interpretability.tables import unigram
from superalign.interpretability.units import Site
from superalign.models import LocalModel
from superalign.stats import Interval, binomial_interval, mean_interval

PATTERNS: dict[Pattern, int] = {"previous": 0, "induction": 1}
"""What is looked for, and the block that it has to be in."""
LEAST = 0.4
"""Share of attention on the pattern from which a head counts among those that are ablated."""
ROWS, HALF = 64, 12


def explaining(made: Callable[[Sample], Explainer]) -> Callable[[LocalModel, Corpus, Site, int], Explainer]:
    """An explainer of the site from train texts."""

    def explain(model: LocalModel, corpus: Corpus, site: Site, unit: int) -> Explainer:
        return made(read_sample(model, corpus, site, drawn(corpus, "train", tokens=10**6, seed=0)))

    return explain


class Shifted:
    """Says of every unit what its explainer says of the next one: a control that has seen the same texts."""

    def __init__(self, explainer: Explainer, units: int) -> None:
        self.explainer, self.units, self.name = explainer, units, "another unit"

    def predict(self, ids: Any, lengths: Any) -> Any:
        """(rows, length, units)"""
        return self.explainer.predict(ids, lengths)[..., [*range(1, self.units), 0]]

    def explanation(self, unit: int) -> Any:
        """Of the next unit."""
        return self.explainer.explanation((unit + 1) % self.units)


METHODS: dict[str, Callable[[Sample], Explainer]] = {
    "rules": rules,
    "unigram table": unigram,
    "rules of another unit": lambda sample: Shifted(rules(sample), sample.site.units),
}


def copied(seed: int) -> dict[str, Any]:
    """A copier: its heads, in their blocks or not, and how much the second copy's loss rises without them."""
    trained = copier(seed=seed)
    ids, half = repeated(trained, rows=ROWS, half=HALF, seed=1)
    scores, before = head_scores(trained, ids, half), head_scores(untrained(seed=seed), ids, half)
    row: dict[str, Any] = {"seed": seed}
    for pattern, block in PATTERNS.items():
        best = scores.best(pattern)
        heads = scores.found(pattern, least=LEAST) or (best,)
        without = ablated(trained, ids, half, heads, seed=0)
        row[pattern] = {
            "head": best,
            "in its block": best[0] == block,
            "share": scores.interval(pattern, best),
            "untrained": float(before.mean(pattern).max()),
            "ablated": len(heads),
            "first copy": without.first,
            "second copy": without.second,
            "rise": without.rise,
            "rise, others": without.others,
        }
    return row


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Interval]]:
    """Over copiers: heads found where they have to be, and the mean rise of the loss, nats a token."""
    out: dict[str, dict[str, Interval]] = {}
    for pattern in PATTERNS:
        each = [row[pattern] for row in rows]
        rises = {"rise": [one["rise"].value for one in each]}
        rises["rise, others"] = [one["rise, others"].value for one in each if one["rise, others"] is not None]
        out[pattern] = {"found": binomial_interval(sum(one["in its block"] for one in each), len(each))}
        out[pattern]["share of attention"] = mean_interval([one["share"].value for one in each])
        out[pattern] |= {name: mean_interval(values) for name, values in rises.items() if len(values) > 1}
    return out


def told(value: Any) -> str:
    """As `.961 [.876, 1.000]`."""
    if not isinstance(value, Interval) or value.value is None or value.low is None or value.high is None:
        return "refused" if isinstance(value, Interval) else str(value)
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def shown(known: Known) -> dict[str, Any]:
    """Shares of one method, in all and by kind, and what was wrong, in words."""
    n = len(known.answers)
    return {
        "right": binomial_interval(sum(answer.right for answer in known.answers), n),
        "words named": binomial_interval(sum(answer.named for answer in known.answers), n),
        **{kind: sum(a.right for a in known.answers if a.kind == kind) for kind in KINDS},
        "wrong": [f"{a.kind} {a.seed}: F1 {a.f1:.2f}, {a.text} {a.note}" for a in known.answers if not a.right],
    }


def main() -> None:
    """Plant, train, explain, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(300, 312)))
    parser.add_argument("--copiers", type=int, nargs="+", default=list(range(300, 305)))
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    began, found = time.process_time(), {}
    for name, made in METHODS.items():
        found[name] = shown(suite(explaining(made), seeds=given.seeds))
        spent = time.process_time() - began
        print(f"{name}: {told(found[name]['right'])} ({spent:.0f} s)", file=sys.stderr, flush=True)
    rows = []
    for seed in given.copiers:
        rows.append(copied(seed))
        spent = time.process_time() - began
        print(f"copier {seed}: {told(rows[-1]['induction']['rise'])} ({spent:.0f} s)", file=sys.stderr, flush=True)
    heads = summary(rows)
    if given.json:
        all_of = {"planted": found, "copiers": rows, "heads": heads, "cpu": round(time.process_time() - began)}
        print(json.dumps(all_of, default=told))
        return
    print(f"{len(given.seeds)} units of each of {len(KINDS)} kinds")
    for name, one in found.items():
        kinds = ", ".join(f"{kind} {one[kind]}" for kind in KINDS)
        print(f"  {name:22} right {told(one['right'])}, its words named {told(one['words named'])}; {kinds}")
    for line in found["rules"]["wrong"]:
        print(f"  wrong by rules: {line}")
    print(f"{len(rows)} copiers, {time.process_time() - began:.0f} s in all")
    for pattern, shares in heads.items():
        print(f"  {pattern}: " + ", ".join(f"{name} {told(interval)}" for name, interval in shares.items()))


if __name__ == "__main__":
    main()
