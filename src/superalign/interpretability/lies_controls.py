"""What a probe's number is held against: the text alone, an untrained network, and how far above them it lies."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy import stats as scipy_stats

from superalign.interpretability.lies_texts import Parts, Told
from superalign.models import LocalModel
from superalign.stats import Interval, auroc, bootstrap_interval

CS = (0.01, 0.1, 1.0, 10.0)
"""Inverse penalties of the text-only baseline that dev chooses from; ties go to the stronger penalty."""


def untrained(model: LocalModel, *, seed: int = 0) -> LocalModel:
    """A network of the same shape, initialised anew from `seed`, behind the same tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = type(model.network)(copy.deepcopy(model.network.config)).eval().to(model.device)
    return replace(model, name=f"{model.name}, untrained", network=network, head=None).sealed()


def text_only(told: Told, parts: Parts, *, hidden: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Scores of dev and test texts by logistic regression on words and word pairs, its penalty chosen on dev.

    Words in `hidden` are struck out, as for the probe.
    """
    from sklearn.feature_extraction.text import CountVectorizer  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    plain = [" ".join(word for word in text.split() if word not in hidden) or "-" for text in told.texts]
    counts = CountVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), binary=True, lowercase=False)
    x = counts.fit_transform([plain[i] for i in parts.train])
    dev, test = (counts.transform([plain[i] for i in rows]) for rows in (parts.dev, parts.test))
    tried = [LogisticRegression(C=c, max_iter=1000).fit(x, told.lie[parts.train]) for c in CS]
    best = max(tried, key=lambda model: auroc(model.decision_function(dev), told.lie[parts.dev]).value or 0.0)
    return best.decision_function(dev), best.decision_function(test)


def gain(scores: np.ndarray, base: np.ndarray, lie: np.ndarray, topics: Sequence[str], *, seed: int = 0) -> Interval:
    """AUROC of `scores` less that of `base` on the same texts, with a bootstrap over topics."""
    y = np.asarray(lie) == 1

    def difference(rows: np.ndarray) -> float:
        truth = y[rows]
        if truth.all() or not truth.any():
            return float("nan")
        return _area(scores[rows], truth) - _area(base[rows], truth)

    return bootstrap_interval(
        difference, len(y), clusters=np.asarray(topics), method="percentile", seed=seed, draws=500
    )


def _area(scores: np.ndarray, truth: np.ndarray) -> float:
    ranks, hits = scipy_stats.rankdata(scores), int(truth.sum())
    return float((ranks[truth].sum() / hits - (hits + 1) / 2) / (len(truth) - hits))
