"""Scores of the weak-to-strong sweep, from the stored answers of every seed: no model is needed here."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from superalign.pipeline.desk import Desk, measured
from superalign.stats import paired_difference, pgr, proportion_interval


def pack_answers(correct: np.ndarray, sound: np.ndarray) -> str:
    """What was answered, as text: a, b, or = for a tie; from right and wrong (items,) and the sound side's index."""
    said = np.where(correct == 1, sound, 1 - sound)
    return "".join("=" if c == 0.5 else "ab"[int(side)] for c, side in zip(correct, said, strict=True))


def right_answers(text: str, sound: np.ndarray) -> np.ndarray:
    """Right (1), wrong (0) and tied (0.5) answers (items,) of such a text, by the truth: the sound side's index."""
    return np.array([0.5 if c == "=" else float("ab"[side] == c) for c, side in zip(text, sound, strict=True)])


def measure_sweep(
    desk: Desk, runs: list[dict[str, Any]], truths: list[dict[str, Any]], clusters: np.ndarray, **what: str
) -> None:
    """Accuracies, PGR and contrasts from the stored answers of all seeds, by the test page's truths and clusters.

    `what` names the `signal`, the `subject` and the digest of the `items`.
    """
    seed, sound = desk.config.seed, np.array([truth["answer"] for truth in truths])
    weak = np.stack([right_answers(r["floor"], sound) for r in runs])
    ceiling = np.stack([right_answers(r["ceiling"], sound) for r in runs])
    names = runs[0]["order"]
    right = {name: np.stack([right_answers(r["arms"][name]["said"], sound) for r in runs]) for name in names}
    more: dict[str, Any] = {
        "subject": what["subject"],
        "signals": (what["signal"],),
        "inputs": (what["items"], *(desk.ws.store.put_json(run) for run in runs)),
    }
    flat = {"weak floor": weak, "ceiling": ceiling, **right}
    for name, values in flat.items():
        kind = runs[0]["arms"].get(name, {"kind": "control"})["kind"]
        tags = {"stage": "train", "figure": "accuracy", "arm": name, "arm_kind": kind, "seeds": len(runs)}
        measured(
            desk,
            f"accuracy.{name}",
            f"Accuracy on held-out files: {name}",
            proportion_interval(values.mean(0), clusters=clusters),
            tags=tags,
            **more,
        )
    for name, values in right.items():
        arm = runs[0]["arms"][name]
        tags = {"stage": "train", "figure": "pgr", "arm": name, "arm_kind": arm["kind"], "seeds": len(runs)}
        interval = pgr(
            list(weak),
            list(values),
            list(ceiling),
            clusters=[clusters] * len(runs),
            seed=seed,
            draws=desk.sizes.draws,
        )
        measured(
            desk,
            f"pgr.{name}",
            f"Performance gap recovered: {name}",
            interval,
            tags=tags,
            cost={"checks": float(arm["checks"])},
            **more,
        )
    ways = dict.fromkeys(("critique", desk.config.signal))
    bases = dict.fromkeys(("naive", "regularised", "logconf", "em", desk.config.method))
    for way, base in product(ways, bases):
        for other in ("zero-shot", f"{base} + random checks", f"{base} + own checks", base):
            name = f"{base} + {way}"
            interval = paired_difference(right[name].mean(0), right[other].mean(0), clusters=clusters)
            tags = {"stage": "train", "figure": "contrast", "a": name, "b": other}
            measured(desk, f"contrast.{name} - {other}", f"{name} minus {other}", interval, tags=tags, **more)
