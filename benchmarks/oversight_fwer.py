"""How often is a protocol without information called better or worse? `python benchmarks/oversight_fwer.py [N]`.

N leaderboards (2,000) a row: 12 protocols against the unaided judge, on the same items, from a bank of cached episodes
whose advisers carry no information. All arms are replays of one judge, drawn cluster by cluster, so no arm differs from
another by anything but chance, and every verdict of `better` or `worse` under Holm is false. Then power: one protocol
has enough of its wrong judgements put right to be 10 points better, against what `stats.power_mean` predicts.

The bank is binary where it hurts: two replays differ on a fifth of the items, more alike within a cluster, one play in
a hundred fails. `--bank FILE.npz` takes real episodes in its place: `belief` (replays, items) on the truth, NaN where
the judge failed, and `cluster` (items,), 13 replays at least. `--few` adds boards under 40 clusters (wild bootstrap),
N/4 of them, which is slow; `--json` prints one object.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.special import ndtr
from scipy.stats import norm

from superalign import stats
from superalign.oversight.contrasts import Contrast, contrasts
from superalign.oversight.rows import EpisodeRows, episode_rows

PROTOCOLS = 12
LEVEL = 0.95
BETTER = 0.1
"""By how much the planted protocol is better."""
Rng = np.random.Generator


class Bank(NamedTuple):
    """Cached episodes of one judge."""

    belief: np.ndarray
    """(replays, items) on the truth; NaN where it failed."""
    members: list[np.ndarray]
    """Items of each cluster."""


class Design(NamedTuple):
    """What a board is drawn from."""

    name: str
    clusters: int
    uneven: bool = False
    size: int = 5
    alike: float = 0.2
    """Share of what differs between replays that a cluster has in common."""


DESIGNS = (
    Design("40 clusters of 5 items", 40),
    Design("40 clusters of 1 to 20 items, 5 on average", 40, uneven=True),
    Design("40 clusters of 5 items, differences twice as alike", 40, alike=0.4),
    Design("100 clusters of 5 items", 100),
)
FEW = (Design("20 clusters of 10 items", 20, size=10), Design("12 clusters of 15 items", 12, size=15))


def simulated(design: Design, seed: int = 2026, clusters: int = 600, replays: int = 26) -> Bank:
    """A judge right on .7 of the items, two of whose replays differ on a fifth of them (latent correlation .76)."""
    rng = np.random.default_rng(seed)
    sizes = np.full(clusters, design.size)
    if design.uneven:
        sizes = np.clip(np.round(rng.lognormal(np.log(design.size) - 0.32, 0.8, clusters)), 1, 20).astype(int)
    of = np.repeat(np.arange(clusters), sizes)
    shared = rng.normal(size=clusters)[of] * 0.22**0.5 + rng.normal(size=len(of)) * 0.54**0.5
    own = rng.normal(size=(replays, clusters))[:, of] * (0.24 * design.alike) ** 0.5
    own += rng.normal(size=own.shape) * (0.24 * (1 - design.alike)) ** 0.5
    belief = ndtr(1.5 * (norm.ppf(0.7) + shared + own))
    belief[rng.random(belief.shape) < 0.01] = np.nan
    return Bank(belief, np.split(np.arange(len(of)), np.cumsum(sizes)[:-1]))


def loaded(path: Path) -> Bank:
    """A bank of real episodes."""
    with np.load(path) as file:
        belief, cluster = file["belief"], file["cluster"]
    if belief.ndim != 2 or len(belief) <= PROTOCOLS or belief.shape[1:] != cluster.shape:
        raise SystemExit(
            f"{path}: belief {belief.shape}, cluster {cluster.shape}: (replays, items), 13 replays at least"
        )
    members = [np.flatnonzero(cluster == name) for name in np.unique(cluster)]
    if len(members) < DESIGNS[0].clusters:
        raise SystemExit(f"{path}: {len(members)} clusters: a board is drawn from {DESIGNS[0].clusters} at least")
    return Bank(belief, members)


def arms(bank: Bank, clusters: int, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Beliefs (13, n) of one board, and the cluster of each item: other replays for every arm in every cluster."""
    drawn = rng.choice(len(bank.members), size=clusters, replace=False)
    parts = [
        bank.belief[rng.permutation(len(bank.belief))[: PROTOCOLS + 1]][:, bank.members[cluster]] for cluster in drawn
    ]
    return np.concatenate(parts, axis=1), np.repeat(drawn, [part.shape[1] for part in parts])


def rows_of(belief: np.ndarray, cluster: np.ndarray) -> EpisodeRows:
    """One arm's plays."""
    return episode_rows(item=np.arange(len(belief)), cluster=cluster, belief=belief)


def played(belief: np.ndarray, cluster: np.ndarray) -> tuple[Contrast, ...]:
    """The leaderboard's contrasts."""
    names = ["unaided", *(f"protocol {i}" for i in range(1, PROTOCOLS + 1))]
    return contrasts({name: rows_of(p, cluster) for name, p in zip(names, belief, strict=True)}, level=LEVEL)


def improved(belief: np.ndarray, rate: float, rng: Rng) -> np.ndarray:
    """The same beliefs, wrong ones put right at that rate."""
    wrong = ~(belief > 0.5)
    return np.where(wrong & (rng.random(belief.shape) < rate), 0.9, belief)


def false_verdicts(bank: Bank, design: Design, boards: int, seed: int) -> dict[str, object]:
    """Share of boards with any verdict of better or worse, and its exact interval."""
    rng, told, began = np.random.default_rng(seed), 0, time.process_time()
    equivalent, items, method = 0, 0, ""
    for _ in range(boards):
        belief, cluster = arms(bank, design.clusters, rng)
        found = played(belief, cluster)
        told += any(each.verdict in ("better", "worse") for each in found)
        equivalent += sum(each.verdict == "equivalent" for each in found)
        items, method = items + len(cluster), found[0].method
    share = stats.binomial_interval(told, boards, level=LEVEL)
    return {
        "design": design.name,
        "items": items / boards,
        "boards": boards,
        "method": method,
        "fwer": share.value,
        "low": share.low,
        "high": share.high,
        "holds": bool((share.low or 0.0) <= 0.05 and (share.high or 1.0) <= 0.07),
        "equivalent": equivalent / (boards * PROTOCOLS),
        "cpu_seconds": round(time.process_time() - began, 1),
    }


def bank_facts(bank: Bank, rng: Rng, rate: float) -> dict[str, float]:
    """Accuracy, discordant share and correlation within clusters of the differences, unplanted and planted."""
    differences: dict[str, list[np.ndarray]] = {"null": [], "planted": []}
    alike: dict[str, list[float]] = {"null": [], "planted": []}
    for _ in range(40):
        belief, cluster = arms(bank, len(bank.members), rng)
        first, second = (belief[0] > 0.5).astype(float), (belief[1] > 0.5).astype(float)
        for name, answer in (("null", second), ("planted", improved(belief[1], rate, rng) > 0.5)):
            differences[name].append(answer - first)
            alike[name].append(stats.intraclass_correlation(answer - first, cluster))
    return {
        "accuracy": float((bank.belief > 0.5).mean()),
        "discordant": float(np.mean(np.abs(differences["null"]))),
        "icc": float(np.mean(alike["null"])),
        "planted": float(np.mean(differences["planted"])),
        "planted_sd": float(np.std(differences["planted"])),
        "planted_icc": float(np.mean(alike["planted"])),
    }


def power(bank: Bank, design: Design, boards: int, seed: int) -> dict[str, object]:
    """How often a protocol 10 points better is called better, and how often `stats.power_mean` says it is."""
    rate = BETTER / float(1 - (bank.belief > 0.5).mean())
    facts = bank_facts(bank, np.random.default_rng(seed + 1), rate)
    rng, found, items = np.random.default_rng(seed), 0, 0
    for _ in range(boards):
        belief, cluster = arms(bank, design.clusters, rng)
        belief[1] = improved(belief[1], rate, rng)
        found += played(belief, cluster)[0].verdict == "better"
        items += len(cluster)
    sizes = np.array([len(m) for m in bank.members], dtype=float)
    # power_mean takes clusters of one size: uneven ones weigh as fewer, larger ones
    inflated = stats.design_effect(sizes, facts["planted_icc"]) / stats.design_effect(
        np.full(len(sizes), sizes.mean()), facts["planted_icc"]
    )
    predicted = stats.power_mean(
        facts["planted"],
        facts["planted_sd"] * inflated**0.5,
        round(items / boards),
        clusters=design.clusters,
        icc=facts["planted_icc"],
        level=1 - (1 - LEVEL) / PROTOCOLS,
    )
    share = stats.binomial_interval(found, boards, level=LEVEL)
    measured = {"power": share.value, "low": share.low, "high": share.high, "predicted": predicted}
    return {"design": design.name, "boards": boards, **measured, **facts}


def main() -> None:
    """Play the boards and print."""
    words = sys.argv[1:]
    boards = next((int(word) for word in words if word.isdigit()), 2000)
    own = Path(words[words.index("--bank") + 1]) if "--bank" in words else None
    console, began = Console(stderr=True, width=120), time.process_time()
    null, strong = [], []
    for i, design in enumerate([Design(f"40 clusters of {own.name}", 40)] if own else DESIGNS):
        bank = loaded(own) if own else simulated(design)
        null.append(false_verdicts(bank, design, boards, seed=i))
        strong.append(power(bank, design, boards, seed=100 + i))
        console.print(f"{null[-1]}\n{strong[-1]}")
    for i, design in enumerate(FEW if "--few" in words else ()):
        null.append(false_verdicts(simulated(design), design, max(1, boards // 4), seed=200 + i))
        console.print(f"{null[-1]}")
    if "--json" in words:
        print(json.dumps({"cpu_seconds": round(time.process_time() - began), "fwer": null, "power": strong}))
        return
    table = Table("design", "items", "boards", "any false verdict", "95 %", "holds", "called equivalent", "method")
    for row in null:
        share, ends = f"{row['fwer']:.4f}", f"[{row['low']:.4f}, {row['high']:.4f}]"
        holds, same = "yes" if row["holds"] else "no", f"{row['equivalent']:.3f}"
        table.add_row(
            str(row["design"]), f"{row['items']:.0f}", str(row["boards"]), share, ends, holds, same, str(row["method"])
        )
    Console(width=140).print(table)
    table = Table("design", "true gain", "discordant", "icc", "called better", "95 %", "predicted", title="power")
    for row in strong:
        shown = [f"{row[name]:.3f}" for name in ("planted", "discordant", "icc", "power")]
        table.add_row(str(row["design"]), *shown, f"[{row['low']:.3f}, {row['high']:.3f}]", f"{row['predicted']:.3f}")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
