"""What a unit does to what the model says: replaced by its mean, zero, another token's value, or by its explanation.

    told = to_simulation(model, corpus, site, explainer, [[7], [9]], rows=validation, calibration=dev)
    told[0].score           # 1: the explanation carries all that the unit does; 0: no more than its mean does

Effects are Jensen–Shannon divergences between what the model says of the next token with the unit replaced and as it
is (nats, at every counted token). Replaced are counted tokens only, all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from superalign.interpretability.corpus import Corpus
from superalign.interpretability.explanation import Explainer
from superalign.interpretability.units import ROWS, Site, tapped, value_of
from superalign.models import LocalModel
from superalign.stats import Interval, bootstrap_interval, mean_interval, refused

CLEAR = 10.0
"""A divergence counts as one from so many times that of the network run twice, in batches of unlike size."""
DRAWS = 500
Groups = Sequence[Sequence[int]]
"""Units of a site that are replaced at once, group after group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What replacing units changes in what the model says."""

    site: str
    units: tuple[int, ...]
    to: str
    divergence: Interval
    """Jensen–Shannon, nats a token, over documents."""
    loss: Interval
    """Rise of the loss, nats a token, over documents: negative where the model is better off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """How much of what units do their explanation does in their place."""

    site: str
    units: tuple[int, ...]
    score: Interval
    """1 − E[JSD(M(x; a := sim(x)), M(x))] / E[JSD(M(x; a := mean), M(x))] (Bills et al. 2023). Refused where the
    denominator cannot be told from nothing. Below 0: the explanation is worse than the mean."""
    mean_effect: Interval
    """The denominator: nats a token."""
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    """sim(x) = offset + scale × prediction, by least squares on the calibration rows; a scale is never below 0, since
    an explanation that says the opposite explains nothing. Scale 0 makes sim the mean, and the score 0."""


def raw_of(site: Site, tensor: torch.Tensor) -> torch.Tensor:
    """(rows, length, units, d) of what is tapped: the values, d = 1; for heads their mixtures, d = head width."""
    if site.kind == "head":
        return tensor.reshape(*tensor.shape[:-1], site.units, -1)
    return value_of(site, tensor)[..., None]


def with_raw(site: Site, tensor: torch.Tensor, units: Sequence[int], raw: torch.Tensor) -> torch.Tensor:
    """What is tapped, with `raw` (rows, length, chosen units, d) in the place of the units'.

    A direction or feature is moved along the least change of the stream that has it so (a feature along its decoder's
    row), so that what else lies in the stream stays.
    """
    chosen = list(units)
    if site.kind == "head":
        parted = tensor.reshape(*tensor.shape[:-1], site.units, -1).clone()
        parted[:, :, chosen] = raw
        return parted.reshape(tensor.shape)
    if site.kind == "neuron":
        changed = tensor.clone()
        changed[..., chosen] = raw[..., 0]
        return changed
    moved = raw[..., 0] - value_of(site, tensor)[..., chosen]
    changed = tensor + moved @ outward(site, chosen).to(tensor)
    return changed


def outward(site: Site, units: Sequence[int]) -> torch.Tensor:
    """(chosen units, width): how the stream changes when one of them grows by one and the other chosen ones stay.

    Raises ValueError for a transcoder's features.
    """
    if site.directions is not None:
        inverse: torch.Tensor = torch.linalg.pinv(torch.from_numpy(site.directions[list(units)]))
        return inverse.T
    if site.dictionary is None or site.dictionary.reads != "stream":
        raise ValueError(f"{site.name}: its units are not written where they are read: none can be replaced there")
    return site.dictionary.decoder[list(units)]


def outward_alone(site: Site) -> torch.Tensor:
    """(units, width): the same for every direction or feature, each alone. Raises ValueError as `outward` does."""
    if site.directions is None:
        return outward(site, range(site.units))
    rows: torch.Tensor = torch.from_numpy(site.directions)
    scaled: torch.Tensor = rows / rows.square().sum(1, keepdim=True).clamp(min=1e-30)
    return scaled


def valued(site: Site, raw: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """`raw` (rows, length, k, d) with its units at `values` (rows, length, k): a head's mixture keeps its direction."""
    if site.kind != "head":
        return values.unsqueeze(-1)
    length: torch.Tensor = raw.norm(dim=-1).clamp(min=1e-12)
    return raw * (values.to(raw.device).clamp(min=0) / length).unsqueeze(-1)


def tensors_of(
    corpus: Corpus, rows: np.ndarray, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(ids, attention mask, counted) of some sequences, (rows, length) each, on `device`."""
    mask = np.arange(corpus.length) < corpus.lengths[rows, None]
    arrays = corpus.ids[rows].astype(np.int64), mask.astype(np.int64), corpus.counted(rows)
    ids, attended, counted = (torch.from_numpy(array).to(device) for array in arrays)
    return ids, attended, counted


def batched(rows: np.ndarray, size: int = ROWS) -> Iterator[np.ndarray]:
    """Row numbers, `size` at a time."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """Jensen–Shannon divergence of probabilities (…, words), in nats: (…).

    As a sum of non-negative terms m·((1 − e)·log(1 − e) + (1 + e)·log(1 + e))/2, m their mean and e their relative
    difference: entropies subtracted would lose small effects in float32.
    """
    total = p + q
    e = ((q - p) / total.clamp(min=1e-38)).clamp(-1 + 1e-7, 1 - 1e-7)
    found: torch.Tensor = (total * ((1 - e) * torch.log1p(-e) + (1 + e) * torch.log1p(e))).sum(-1).clamp(min=0) / 4
    return found


Replace = Callable[[np.ndarray, torch.Tensor, Sequence[int]], torch.Tensor]
"""(row numbers, raw (rows, length, k, d) of the chosen units, those units) → what takes its place."""


def replaced(
    model: LocalModel, corpus: Corpus, rows: np.ndarray, site: Site, groups: Groups, values: Replace
) -> tuple[np.ndarray, np.ndarray]:
    """(divergence, rise of the loss), each (groups, rows): means over a sequence's counted tokens, in nats."""
    found = np.zeros((2, len(groups), len(rows)))
    for start, batch in zip(range(0, len(rows), ROWS), batched(rows), strict=True):
        ids, mask, counted = tensors_of(corpus, batch, model.device)
        seen: dict[str, torch.Tensor] = {}

        def keep(site: Site, tensor: torch.Tensor, seen: dict[str, torch.Tensor] = seen) -> None:
            seen["raw"] = raw_of(site, tensor)

        with torch.inference_mode():
            with tapped(model, [site], keep):
                clean = _spoken(model, ids, mask, counted)
            for number, units in enumerate(groups):
                new = values(batch, seen["raw"][:, :, list(units)], units)
                with tapped(model, [site], _putting(units, new, counted)):
                    changed = _spoken(model, ids, mask, counted)
                part = slice(start, start + len(batch))
                found[0, number, part] = _by_row(divergence(clean[0], changed[0]), counted)
                found[1, number, part] = _by_row(changed[1] - clean[1], counted[:, 1:] & counted[:, :-1])
    return found[0], found[1]


def _putting(
    units: Sequence[int], new: torch.Tensor, counted: torch.Tensor
) -> Callable[[Site, torch.Tensor], torch.Tensor]:
    def put(site: Site, tensor: torch.Tensor) -> torch.Tensor:
        raw = raw_of(site, tensor)[:, :, list(units)]
        return with_raw(site, tensor, units, torch.where(counted[..., None, None], new.to(raw), raw))

    return put


def _spoken(
    model: LocalModel, ids: torch.Tensor, mask: torch.Tensor, counted: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (counted tokens, words) of the next token, and the losses of tokens that follow a counted one."""
    logits = model.network(input_ids=ids, attention_mask=mask).logits.float()
    spoken = torch.log_softmax(logits, dim=-1)
    told = counted[:, 1:] & counted[:, :-1]
    losses = -spoken[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)[told]
    return spoken[counted].exp(), losses


def _by_row(values: torch.Tensor, where: torch.Tensor) -> np.ndarray:
    """Mean over each row of values that stand one after the other where `where` (rows, length) is true."""
    values, where = values.cpu(), where.cpu()
    row = where.nonzero()[:, 0]
    sums = torch.zeros(len(where), dtype=torch.float64).index_add_(0, row, values.double())
    return (sums / where.sum(1).clamp(min=1)).numpy()


def raw_values(model: LocalModel, corpus: Corpus, rows: np.ndarray, site: Site) -> np.ndarray:
    """(counted tokens, units, d) float32, what `raw_of` says at every counted token of `rows`."""
    parts: list[torch.Tensor] = []
    for batch in batched(rows):
        ids, mask, counted = tensors_of(corpus, batch, model.device)

        def keep(site: Site, tensor: torch.Tensor, counted: torch.Tensor = counted) -> None:
            parts.append(raw_of(site, tensor)[counted].float())

        with torch.inference_mode(), tapped(model, [site], keep):
            model.network(input_ids=ids, attention_mask=mask)
    return torch.cat(parts).cpu().numpy()


def ablation(
    model: LocalModel,
    corpus: Corpus,
    site: Site,
    groups: Groups,
    *,
    rows: np.ndarray,
    reference: np.ndarray,
    to: Literal["mean", "zero", "resample"] = "mean",
    seed: int = 0,
) -> tuple[Ablation, ...]:
    """Replace each group of units by their mean on the `reference` rows, zero, or a counted token's values drawn there.

    One forward of `rows` a group. Heads are replaced as mixtures, not as norms. Raises ValueError for no rows or units.
    """
    _given(site, groups, rows, reference)
    known = torch.from_numpy(raw_values(model, corpus, reference, site))
    mean, rng = known.mean(0), np.random.default_rng(seed)

    def values(batch: np.ndarray, raw: torch.Tensor, units: Sequence[int]) -> torch.Tensor:
        if to == "zero":
            return torch.zeros_like(raw)
        if to == "mean":
            return mean[list(units)].expand_as(raw)
        drawn = torch.from_numpy(rng.integers(len(known), size=raw.shape[:2]))
        return known[:, list(units)][drawn]

    moved, worse = replaced(model, corpus, rows, site, groups, values)
    clusters = corpus.clusters(rows)
    return tuple(
        Ablation(
            site=site.name,
            units=tuple(units),
            to=to,
            divergence=_mean(moved[i], clusters),
            loss=_mean(worse[i], clusters),
        )
        for i, units in enumerate(groups)
    )


def to_simulation(
    model: LocalModel,
    corpus: Corpus,
    site: Site,
    explainer: Explainer,
    groups: Groups,
    *,
    rows: np.ndarray,
    calibration: np.ndarray,
    seed: int = 0,
) -> tuple[Simulated, ...]:
    """Put the explanation's calibrated predictions in the place of each group of units, and score what changes.

    Scale and mean are of the `calibration` rows (dev); the score is of `rows` (validation). A head keeps the direction
    of its mixture and gets the predicted norm, and its mean is the mean norm. Two forwards of `rows` a group. Raises
    ValueError for no rows, no units, or predictions of another shape.
    """
    _given(site, groups, rows, calibration)
    scale, offset, mean = calibrated(model, corpus, site, explainer, calibration)
    used = np.unique([unit for units in groups for unit in units])
    predicted = {int(batch[0]): _predictions(explainer, corpus, site, batch)[..., used] for batch in batched(rows)}

    def simulated(batch: np.ndarray, raw: torch.Tensor, units: Sequence[int]) -> torch.Tensor:
        chosen = list(units)
        told = offset[chosen] + scale[chosen] * predicted[int(batch[0])][..., np.searchsorted(used, chosen)]
        return valued(site, raw, torch.from_numpy(told.astype(np.float32)))

    def flat(batch: np.ndarray, raw: torch.Tensor, units: Sequence[int]) -> torch.Tensor:
        return valued(site, raw, torch.from_numpy(mean[list(units)].astype(np.float32)).expand(raw.shape[:3]))

    away, _ = replaced(model, corpus, rows, site, groups, simulated)
    whole, _ = replaced(model, corpus, rows, site, groups, flat)
    noise, clusters = noise_of(model, corpus, rows), corpus.clusters(rows)
    return tuple(
        Simulated(
            site=site.name,
            units=tuple(units),
            score=_ratio(away[i], whole[i], clusters, noise, seed),
            mean_effect=_mean(whole[i], clusters),
            scale=tuple(float(scale[u]) for u in units),
            offset=tuple(float(offset[u]) for u in units),
        )
        for i, units in enumerate(groups)
    )


def calibrated(
    model: LocalModel, corpus: Corpus, site: Site, explainer: Explainer, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scale, offset, mean activation), (units,) each: least squares of activations on predictions, scale ≥ 0."""
    raw = raw_values(model, corpus, rows, site)
    actual = np.linalg.norm(raw, axis=-1) if site.kind == "head" else raw[..., 0]
    told = np.concatenate([_predictions(explainer, corpus, site, b)[corpus.counted(b)] for b in batched(rows)])
    actual, told = actual.astype(np.float64), told.astype(np.float64)
    centre, mean = told.mean(0), actual.mean(0)
    spread = ((told - centre) ** 2).sum(0)
    both = ((told - centre) * (actual - mean)).sum(0)
    scale = np.maximum(np.divide(both, spread, out=np.zeros_like(both), where=spread > 1e-12), 0)
    return scale, mean - scale * centre, mean


def noise_of(model: LocalModel, corpus: Corpus, rows: np.ndarray) -> float:
    """Nats a token by which the network differs from itself when it reads sequences one by one: float arithmetic."""
    ids, mask, counted = tensors_of(corpus, rows[: min(4, len(rows))], model.device)
    with torch.inference_mode():
        together = _spoken(model, ids, mask, counted)[0]
        alone = [_spoken(model, ids[i : i + 1], mask[i : i + 1], counted[i : i + 1])[0] for i in range(len(ids))]
    return max(float(divergence(together, torch.cat(alone)).mean()), 1e-13)


def _predictions(explainer: Explainer, corpus: Corpus, site: Site, rows: np.ndarray) -> np.ndarray:
    told = explainer.predict(corpus.ids[rows], corpus.lengths[rows])
    if told.shape != (len(rows), corpus.length, site.units):
        raise ValueError(
            f"{explainer.name} predicts {told.shape} for {len(rows)} sequences of {corpus.length} and {site.name}'s "
            f"{site.units} units: (rows, length, units) is wanted"
        )
    return told


def _mean(values: np.ndarray, clusters: np.ndarray) -> Interval:
    if not np.isfinite(values).all():
        return refused("not a finite number", n=len(values), clusters=len(np.unique(clusters)), method="t")
    return mean_interval(values, clusters=clusters, method="rule")


def _ratio(away: np.ndarray, whole: np.ndarray, clusters: np.ndarray, noise: float, seed: int) -> Interval:
    """1 − away/whole; as in Fieller's theorem, no ratio where the denominator's interval reaches what is nothing."""
    groups = len(np.unique(clusters))
    if not np.isfinite(away).all():
        why = "the explanation predicts what is no finite number, or the unit is none: no score"
        return refused(why, n=len(away), clusters=groups, method="ratio")
    under = mean_interval(whole, clusters=clusters)
    if under.low is None or under.low <= CLEAR * noise:
        why = f"replacing it by its mean changes nothing that shows ({whole.mean():.1e} nats a token): no score"
        return refused(why, n=len(whole), clusters=groups, method="ratio")

    def score(rows: np.ndarray) -> float:
        return float(1 - away[rows].sum() / whole[rows].sum()) if whole[rows].sum() > 0 else float("nan")

    return bootstrap_interval(score, len(whole), clusters=clusters, seed=seed, draws=DRAWS)


def _given(site: Site, groups: Groups, *rows: np.ndarray) -> None:
    wrong = [unit for units in groups for unit in units if not 0 <= unit < site.units]
    if wrong or not groups or not all(map(len, groups)) or not all(map(len, rows)):
        raise ValueError(
            f"{site.name}: {len(groups)} groups of units, {[len(r) for r in rows]} rows"
            f"{f', no unit {wrong[0]}' if wrong else ''}: give rows, and groups of units from 0 to {site.units - 1}"
        )
