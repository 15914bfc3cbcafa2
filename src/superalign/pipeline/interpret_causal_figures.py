"""What causal effects of units are worth: figures with intervals, columns and tables, from their raw arrays alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats as scipy_stats

from superalign.pipeline.interpret_findings import TRAINED, UNTRAINED, Cell, Cited, Findings, Table, unit_of
from superalign.stats import Interval, bootstrap_interval, mean_interval, proportion_interval, refused

Raw = Mapping[str, np.ndarray]
Line = tuple[str, float | None, float | None, float | None, str]


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's, NaN where one side is all the same or not finite."""
    if len(a) < 3 or not (np.isfinite(a).all() and np.isfinite(b).all()) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(scipy_stats.rankdata(a), scipy_stats.rankdata(b))[0, 1])


def causal_figures(raw: Raw, *, draws: int, seed: int) -> Mapping[str, Interval]:
    """Figures by name, intervals over files or documents, but where units were drawn: over those.

    `causal.agreement.first` (over files), `.others` (over units): Spearman of estimates with exact effects.
    `causal.agreement.plain`, `.dropped` (over first units): of estimates, and of estimates with GradDrop.
    `causal.missed`: share of the units left out whose exact effect reaches the middle of the first ones'.
    `causal.share.NETWORK`: share of all estimated effects that the units hold which rank first on other files.
    `causal.divergence.…`, `causal.loss.…`: of replacing one unit by its mean, first units, others, and the difference.
    `causal.estimate-ablation`: Spearman of estimates with divergences, over the chosen units.
    `causal.steering.SITE.UNIT.swing`, `.aside`: change of the pairs' margin from the lowest to the highest dose, and
    KL on unrelated text at the highest.
    """
    sizes, first = np.abs(raw[f"{TRAINED}/effects"][:, raw["chosen"]]).astype(float), raw["first"]
    exact = np.abs(raw["exact"]).astype(float)
    files = raw["files"][: len(exact)]
    told, real = sizes[: len(exact)], exact
    found: dict[str, Interval] = {
        "causal.agreement.first": bootstrap_interval(
            lambda rows: rank_correlation(told[rows].mean(0)[first], real[rows].mean(0)[first]),
            len(real), clusters=files, method="percentile", seed=seed, draws=draws,
        ),
        "causal.agreement.others": _over_units(told.mean(0)[~first], real.mean(0)[~first], draws, seed),
        "causal.missed": _missed(real.mean(0), first),
    }  # fmt: skip
    if f"{TRAINED}/dropped" in raw:
        dropped = raw[f"{TRAINED}/dropped"][raw["chosen"]].astype(float)
        found["causal.agreement.plain"] = _over_units(told.mean(0)[first], real.mean(0)[first], draws, seed)
        found["causal.agreement.dropped"] = _over_units(dropped[first], real.mean(0)[first], draws, seed)
    for network in map(str, raw["networks"]):
        found[f"causal.share.{network}"] = _share(raw, network, draws, seed)
    documents = raw["documents"]
    for name in ("divergence", "loss"):
        ours, theirs = raw[name][first].astype(float).mean(0), raw[name][~first].astype(float).mean(0)
        for side, values in (("first", ours), ("others", theirs), ("difference", ours - theirs)):
            found[f"causal.{name}.{side}"] = _mean(values, documents, seed)
    found["causal.estimate-ablation"] = _over_units(sizes.mean(0), raw["divergence"].astype(float).mean(1), draws, seed)
    for i, place in enumerate(raw["steered"]):
        key = f"causal.steering.{_slug(raw, int(raw['chosen'][place]))}"
        found[f"{key}.swing"] = _mean((raw["change"][i, -1] - raw["change"][i, 0]).astype(float), files, seed)
        found[f"{key}.aside"] = _mean(raw["aside"][i, -1].astype(float), documents, seed)
    return found


def _slug(raw: Raw, row: int) -> str:
    return f"{str(raw['sites'][row]).replace(' ', '-')}.{int(raw['units'][row])}"


def _mean(values: np.ndarray, clusters: np.ndarray, seed: int, draws: int = 500) -> Interval:
    """Refused where a change made numbers that are none: a model that is broken says nothing."""
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        why = f"{bad} of {len(values)} values are not finite"
        return refused(why, n=len(values), clusters=len(np.unique(clusters)), method="t")
    return mean_interval(values, clusters=clusters, method="rule", seed=seed, draws=draws)


def _over_units(a: np.ndarray, b: np.ndarray, draws: int, seed: int) -> Interval:
    def statistic(rows: np.ndarray) -> float:
        return rank_correlation(a[rows], b[rows])

    return bootstrap_interval(statistic, len(a), method="percentile", seed=seed, draws=draws)


def _missed(exact: np.ndarray, first: np.ndarray) -> Interval:
    if not np.isfinite(exact).all():
        return refused("some exact effects are not finite", n=len(exact), clusters=len(exact), method="Korn–Graubard")
    return proportion_interval((exact[~first] >= np.median(exact[first])).astype(float))


def _share(raw: Raw, network: str, draws: int, seed: int) -> Interval:
    """Ranked on half of the files, measured on the other."""
    sizes, files = np.abs(raw[f"{network}/effects"]).astype(float), raw["files"]
    groups = np.random.default_rng([seed, 191]).permutation(np.unique(files))
    here = np.isin(files, groups[: len(groups) // 2])
    if len(groups) < 4 or not np.isfinite(sizes).all():
        why = f"{len(groups)} files, {int((~np.isfinite(sizes)).sum())} estimates not finite: no share"
        return refused(why, n=len(files), clusters=len(groups), method="halves")
    order = np.argsort(-sizes[here].mean(0), kind="stable")[: int(raw["first"].sum())]
    held, whole = sizes[~here][:, order].sum(1), sizes[~here].sum(1)

    def share(rows: np.ndarray) -> float:
        return float(held[rows].sum() / whole[rows].sum()) if whole[rows].sum() > 0 else float("nan")

    return bootstrap_interval(share, len(held), clusters=files[~here], method="percentile", seed=seed, draws=draws)


def causal_columns(raw: Raw) -> Findings:
    """For index, pages and front page; effects of every unit, with what only the chosen ones have beside."""
    sizes = np.abs(raw[f"{TRAINED}/effects"]).astype(float)
    low, high = clustered(sizes, raw["files"])
    mean = sizes.mean(0)
    columns = {
        "effect": mean,
        "effect low": low,
        "effect high": high,
        "exact": _at(raw, np.abs(raw["exact"]).mean(0)),
        "ablation": _at(raw, raw["divergence"].mean(1)),
        "ablation loss": _at(raw, raw["loss"].mean(1)),
    }
    if f"{TRAINED}/dropped" in raw:
        columns["effect dropped"] = raw[f"{TRAINED}/dropped"].astype(float)
    signed = raw[f"{TRAINED}/effects"].astype(float).mean(0)
    lines: dict[int, list[Line]] = {
        row: [
            ("estimated effect", float(mean[row]), float(low[row]), float(high[row]),
             f"attribution, {raw['pairs'][0]}, nats a token; {signed[row]:+.1e} with its sign")
        ]
        for row in range(len(mean))
    }  # fmt: skip
    for place, row in enumerate(raw["chosen"].tolist()):
        lines[row] += _chosen_lines(raw, place)
    for i, place in enumerate(raw["steered"].tolist()):
        lines[int(raw["chosen"][place])] += _steering_lines(raw, i)
    return Findings(
        sites=raw["sites"], units=raw["units"], columns=columns, causal=lines,
        tables=(_worth(raw), _largest(raw, mean), _steering(raw)),
        about={
            "effect": "mean size of the estimated change of the loss when the unit is as on the other text of a pair",
            "effect dropped": "the same with GradDrop, which finds effects that cancel",
            "exact": "the same by patching; only for units that rank first, and some drawn from the rest",
            "ablation": "Jensen–Shannon divergence with the unit at its mean, nats a token; only for those",
            "ablation loss": "rise of the loss with the unit at its mean, nats a token; only for those",
        },
    )  # fmt: skip


def clustered(values: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of each column's mean, (rows, units) → (units,): t intervals, as `mean_interval`'s, all at once."""
    codes = np.unique(clusters, return_inverse=True)[1]
    groups, n = int(codes.max()) + 1, len(values)
    mean = values.mean(0)
    if groups < 2:
        return np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, codes, values - mean)
    half = scipy_stats.t.ppf(0.975, groups - 1) * np.sqrt((sums**2).sum(0) * groups / (groups - 1)) / n
    return mean - half, mean + half


def _at(raw: Raw, values: np.ndarray) -> np.ndarray:
    found = np.full(len(raw["units"]), np.nan)
    found[raw["chosen"]] = values
    return found


def _three(values: np.ndarray, clusters: np.ndarray) -> tuple[float | None, float | None, float | None]:
    told = _mean(values.astype(float), clusters, 0)
    return told.value, told.low, told.high


def _chosen_lines(raw: Raw, place: int) -> list[Line]:
    why = "ranks first" if raw["first"][place] else "drawn at random"
    files = raw["files"][: len(raw["exact"])]
    return [
        ("exact effect", *_three(np.abs(raw["exact"][:, place]), files), f"patching, nats a token; {why}"),
        ("divergence at its mean", *_three(raw["divergence"][place], raw["documents"]), "nats a token"),
        ("loss at its mean", *_three(raw["loss"][place], raw["documents"]), "rise, nats a token"),
    ]


def _steering_lines(raw: Raw, i: int) -> list[Line]:
    files, found = raw["files"][: raw["change"].shape[2]], list[Line]()
    for d, dose in enumerate(raw["doses"]):
        aside = float(raw["aside"][i, d].mean())
        note = f"change of the pairs' margin, nats a token; KL {aside:.1e} on unrelated text"
        found.append((f"steered by {dose:+g}", *_three(raw["change"][i, d], files), note))
    return found


def _worth(raw: Raw) -> Table:
    rows: list[list[Cell]] = [
        ["rank agreement with exact patching, units that rank first", Cited("causal.agreement.first")],
        ["units drawn at random, over units", Cited("causal.agreement.others")],
        ["units left out whose effect is as large as the first ones' median", Cited("causal.missed")],
        ["share of all estimated effects in the first units, on other files", Cited(f"causal.share.{TRAINED}")],
    ]
    if f"{TRAINED}/dropped" in raw:
        rows.insert(1, ["the same of estimates with GradDrop, over units", Cited("causal.agreement.dropped")])
        rows.insert(1, ["the same of plain estimates, over units", Cited("causal.agreement.plain")])
    if UNTRAINED in raw["networks"]:
        rows.append(["the same, of a network that was never trained", Cited(f"causal.share.{UNTRAINED}")])
    rows += [
        [f"{what} with one unit at its mean, {side}", Cited(f"causal.{name}.{key}")]
        for name, what in (("divergence", "divergence"), ("loss", "rise of the loss"))
        for key, side in (("first", "first units"), ("others", "units drawn at random"), ("difference", "difference"))
    ]
    rows.append(["rank agreement of estimates with divergences", Cited("causal.estimate-ablation")])
    count = int(raw["first"].sum())
    paragraph = (
        f"Estimates for {len(raw['units'])} units, from {len(raw['files'])} pairs ({raw['pairs'][0]}). The {count} "
        f"units that rank first and {len(raw['first']) - count} drawn from the rest were patched, and replaced by "
        "their mean."
    )
    return Table("What estimated effects are worth", paragraph, ("figure", "value"), rows)


def _largest(raw: Raw, mean: np.ndarray) -> Table:
    files, rows = raw["files"][: len(raw["exact"])], list[list[Cell]]()
    for place, row in enumerate(raw["chosen"].tolist()):
        if raw["first"][place]:
            exact = _three(np.abs(raw["exact"][:, place]), files)
            worse = _three(raw["loss"][place], raw["documents"])
            told = _three(raw["divergence"][place], raw["documents"])
            name = unit_of(str(raw["sites"][row]), int(raw["units"][row]))
            rows.append([name, float(mean[row]), exact, told, worse])
    head = ("unit", "estimated", "exact", "divergence at its mean", "rise of the loss")
    return Table("Units with the largest effects", "Nats a token.", head, rows)


def _steering(raw: Raw) -> Table:
    rows: list[list[Cell]] = []
    for place in raw["steered"].tolist():
        row = int(raw["chosen"][place])
        key = f"causal.steering.{_slug(raw, row)}"
        why = "ranks first" if raw["first"][place] else "drawn at random"
        name = unit_of(str(raw["sites"][row]), int(raw["units"][row]))
        rows.append([name, why, Cited(f"{key}.swing"), Cited(f"{key}.aside")])
    low, high = raw["doses"][0], raw["doses"][-1]
    paragraph = (
        f"From {low:+g} to {high:+g} standard deviations: how much dearer the other text of a pair gets than the first "
        f"one, nats a token; and KL on text that has nothing to do with it, at {high:+g}."
    )
    return Table("Steering", paragraph, ("unit", "why", "swing of the margin", "KL on unrelated text"), rows)
