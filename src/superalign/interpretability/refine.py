"""Refinement by counterexamples: where an explanation errs most, on held-in text, it gets another rule, or a split one.

    better, told = refine(found, train, dev)                       # found: rules(train)
    better, told = refine(found, train, dev, model=model)          # and the subject is asked which token it was

Each round looks at the sequences of largest |predicted − real|, unit by unit, and tries three things: the rule of the
bank that goes best with the error there; one of the unit's rules together with a condition, where it errs most; and,
with a model, the token whose substitution changes the unit most on the worst token. The best is kept while it gains
more on dev than `price` a bit. Sequences of other splits raise ValueError: a score's windows are never seen here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from superalign.interpretability.bank import SIMPLE, Bank
from superalign.interpretability.conditions import Condition, Rule
from superalign.interpretability.explanation import Sample
from superalign.interpretability.patterns import last_values
from superalign.interpretability.rules import TOKENS, Moments, Rules, held_on, least_squares, moments_of
from superalign.interpretability.tables import VALUE_BITS
from superalign.interpretability.units import Site
from superalign.models import LocalModel

PRICE = 1e-4
"""Share of a unit's variance, on dev, that a bit of explanation has to bring."""
WORST = 0.1
"""Share of sequences that are counterexamples."""
REACH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did."""

    tried: int
    """Units that had something to try."""
    kept: int
    kinds: tuple[tuple[str, int], ...]
    """How many of those kept were added, split, or found by substitution."""
    dev: float
    """Mean share of variance explained on dev, after the round."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One split: which rules hold, and what the units do."""

    held: sparse.csr_matrix
    real: np.ndarray


def refine(
    found: Rules,
    train: Sample,
    dev: Sample,
    *,
    model: LocalModel | None = None,
    rounds: int = 4,
    price: float = PRICE,
    tokens: int = TOKENS,
) -> tuple[Rules, tuple[Round, ...]]:
    """Rules that were refined, named `refined`, and what each round did; it ends where no unit gains.

    Raises ValueError for a `train` or `dev` of other splits, or of different sites.
    """
    train, dev = train.held_in("train").first(tokens), dev.held_in("dev").first(tokens)
    if train.site.name != dev.site.name or len(found.base) != train.site.units:
        raise ValueError(f"rules of {len(found.base)} units, {train.site.name} and {dev.site.name}: bring one site's")
    going, told = np.ones(len(found.base), dtype=bool), list[Round]()
    for _ in range(rounds):
        found, going, done = _round(found, train, dev, going, model, price)
        told.append(done)
        if not going.any():
            break
    return replace(found, name="refined"), tuple(told)


def _round(
    found: Rules, train: Sample, dev: Sample, going: np.ndarray, model: LocalModel | None, price: float
) -> tuple[Rules, np.ndarray, Round]:
    held = held_on(found.bank, train)
    error = train.values - (held @ found.spread() + found.base)
    worst = worst_rows(error, train)
    error = np.where(np.repeat(worst, train.counted.sum(1), axis=0), error, 0)
    asked = {"added": _added(found, held, error)}
    bank, asked["split"] = _split(found, held, error, going)
    if model is not None:
        asked["substituted"] = np.array(
            [_substituted(model, train, bank, error, unit) if going[unit] else -1 for unit in range(len(going))]
        )
    found = replace(found, bank=bank)
    sides = [_Side(held=held_on(bank, sample), real=sample.values) for sample in (train, dev)]
    best, which = _best(found, sides[0], asked)
    trial = _with(found, best, sides[0])
    now, then = (shares(each, sides[1]) for each in (found, trial))
    bits = float(np.log2(max(2, len(bank.rules)))) + VALUE_BITS
    kept = going & (best >= 0) & ((then - now) / bits > price)
    made = replace(
        trial,
        base=np.where(kept, trial.base, found.base),
        chosen=np.where(kept[:, None], trial.chosen, np.c_[found.chosen, np.full(len(kept), -1)]),
        weights=np.where(kept[:, None], trial.weights, np.c_[found.weights, np.zeros(len(kept), dtype=np.float32)]),
    )
    kinds = tuple((kind, int((kept & (which == i)).sum())) for i, kind in enumerate(asked))
    dev_share = float(np.nanmean(np.where(kept, then, now))) if np.isfinite(now).any() else float("nan")
    return made, kept, Round(tried=int((going & (best >= 0)).sum()), kept=int(kept.sum()), kinds=kinds, dev=dev_share)


def worst_rows(error: np.ndarray, sample: Sample) -> np.ndarray:
    """(rows, units) bool: the sequences of largest squared error of each unit, WORST of all."""
    starts = np.r_[0, np.cumsum(sample.counted.sum(1))[:-1]]
    sums = np.add.reduceat(error.astype(np.float64) ** 2, starts, axis=0)
    most = max(1, int(WORST * len(sums)))
    found: np.ndarray = sums >= np.sort(sums, axis=0)[-most]
    return found & (sums > 0)


def _added(found: Rules, held: sparse.csr_matrix, error: np.ndarray) -> np.ndarray:
    """(units,) the rule of the bank that goes best with the error, standardised; −1 for none."""
    scale = np.sqrt(np.maximum(np.asarray(held.sum(0)).ravel(), 1))
    score = np.abs(np.asarray(held.T @ error)) / scale[:, None]
    unit, at = np.nonzero(found.chosen >= 0)
    score[found.chosen[unit, at], unit] = 0
    score = np.nan_to_num(score)
    return np.where(score.max(0) > 0, score.argmax(0), -1)


def _split(found: Rules, held: sparse.csr_matrix, error: np.ndarray, going: np.ndarray) -> tuple[Bank, np.ndarray]:
    """(bank with the new rules, (units,) columns): a unit's first rules, each with a condition, where errors agree."""
    bank, base = found.bank, len(found.bank.rules) - len(found.bank.products)
    narrow = [i for i, rule in enumerate(bank.rules[:base]) if SIMPLE in bank.parts and _narrow(rule)]
    if not narrow:
        return bank, np.full(len(going), -1)
    simple, columns = held[:, narrow], held.tocsc()
    pairs: list[tuple[int, int] | None] = []
    for unit, chosen in enumerate(found.chosen):
        best, pair = 0.0, None
        for rule in chosen[(chosen >= 0) & (chosen < base)].tolist() if going[unit] else []:
            at = columns.indices[columns.indptr[rule] : columns.indptr[rule + 1]]
            at = at[error[at, unit] != 0]
            some = simple[at]
            score = np.abs(some.T @ error[at, unit]) / np.sqrt(np.maximum(np.asarray(some.sum(0)).ravel(), 1))
            if len(at) and score.max() > best and narrow[int(score.argmax())] != rule:
                best, pair = float(score.max()), (rule, narrow[int(score.argmax())])
        pairs.append(pair)
    bank = bank.joined([pair for pair in pairs if pair is not None])
    return bank, np.array([-1 if pair is None else base + bank.products.index(pair) for pair in pairs])


def _narrow(rule: Rule) -> bool:
    """May the rule split others? Classes, brackets and repeats may, and a few places."""
    condition = rule[0]
    usable = condition.kind in ("class", "afterclass", "brackets", "seen")
    return len(rule) == 1 and (usable or (condition.kind == "firsts" and condition.number in (1, 2, 4, 8, 16, 32)))


def _substituted(model: LocalModel, sample: Sample, bank: Bank, error: np.ndarray, unit: int) -> int:
    """The bank's rule about the token that matters most to the unit on its worst token; −1 where there is none."""
    token = int(np.abs(error[:, unit]).argmax())
    ends = np.cumsum(sample.counted.sum(1))
    row = int(np.searchsorted(ends, token, side="right"))
    place = int(np.flatnonzero(sample.counted[row])[token - (ends[row - 1] if row else 0)])
    ids = sample.ids[row, : place + 1]
    change = np.abs(substitution(model, sample.site, unit, ids, seed=token))
    step = int(change.argmax())
    word = int(ids[len(ids) - 1 - step])
    rule = Condition("token", (word,)) if not step else Condition("after", (word,))
    wanted = (rule if step < 2 else Condition("near", (word,), number=REACH),)
    return bank.rules.index(wanted) if change[step] > 0 and wanted in bank.rules else -1


def substitution(model: LocalModel, site: Site, unit: int, ids: np.ndarray, *, draws: int = 3, seed: int) -> np.ndarray:
    """(steps,) how a unit's value on the last of `ids` changes, on average, with another token at each step back.

    Others are drawn from the sequence itself, so that they are tokens that the model knows.
    """
    reach = min(REACH, len(ids) - 1)
    rng, trials = np.random.default_rng([seed, 131]), [ids]
    for step in range(reach + 1):
        for other in rng.choice(ids, draws):
            trials.append(np.where(np.arange(len(ids)) == len(ids) - 1 - step, other, ids))
    values = last_values(model, site, unit, np.stack(trials))
    changed: np.ndarray = (values[1:] - values[0]).reshape(reach + 1, draws).mean(1)
    return changed


def _best(found: Rules, side: _Side, asked: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """((units,) the column that explains most on train of those asked for, or −1, which kind it is)."""
    score = []
    for columns in asked.values():
        trial = _with(found, columns, side)
        score.append(np.where(columns >= 0, np.nan_to_num(shares(trial, side)), -np.inf))
    which = np.argmax(np.stack(score), axis=0)
    best: np.ndarray = np.stack(list(asked.values()))[which, np.arange(len(which))]
    return best, which


def _with(found: Rules, columns: np.ndarray, side: _Side) -> Rules:
    """With one more rule each, −1 for none, and all weights anew."""
    chosen = np.c_[found.chosen, columns]
    used = np.unique(chosen[chosen >= 0])
    moments = moments_of(side.held[:, used], side.real)
    weights = _fitted(moments, np.where(chosen >= 0, np.searchsorted(used, chosen), -1))
    means = np.append(moments.means, 0.0)[np.where(chosen >= 0, np.searchsorted(used, chosen), -1)]
    base = moments.base - (weights * means).sum(1)
    return replace(found, chosen=chosen, weights=weights.astype(np.float32), base=base.astype(np.float32))


def _fitted(moments: Moments, chosen: np.ndarray) -> np.ndarray:
    """(units, terms) weights, units with as many rules together; those without one, or not a number, have none."""
    weights, counts = np.zeros(chosen.shape), (chosen >= 0).sum(1)
    for count in np.unique(counts[counts > 0]):
        units = np.flatnonzero((counts == count) & (moments.variance > 1e-20))
        order = np.argsort(chosen[units] < 0, axis=1, kind="stable")[:, :count]
        some = np.take_along_axis(chosen[units], order, axis=1)
        fitted, _ = least_squares(moments, units, some)
        weights[units[:, None], order] = fitted
    return weights


def shares(found: Rules, side: _Side) -> np.ndarray:
    """(units,) share of variance explained; NaN for a unit that is the same everywhere."""
    told = side.held @ found.spread() + found.base
    variance = side.real.var(0, dtype=np.float64)
    left = ((side.real - told).astype(np.float64) ** 2).mean(0)
    share: np.ndarray = np.divide(variance - left, variance, out=np.full(len(left), np.nan), where=variance > 1e-20)
    return share
