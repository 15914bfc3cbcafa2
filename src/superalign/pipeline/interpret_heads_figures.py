"""What heads' attention is worth: figures with intervals, columns and tables, from its raw arrays alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats as scipy_stats

from superalign.pipeline.interpret_causal_figures import clustered
from superalign.pipeline.interpret_findings import TRAINED, UNTRAINED, Cell, Cited, Findings, Table, unit_of
from superalign.stats import Interval, bootstrap_interval, mean_interval, paired_difference, refused

Raw = Mapping[str, np.ndarray]
PATTERNS = {
    "previous": "the token before",
    "duplicate": "the same token earlier",
    "induction": "what followed the same token",
}
LOOKS = {
    "start": "the start and context",
    "itself": "itself",
    "before": "the token before",
    "same": "the same token earlier",
    "followers": "what followed the same token",
    "distance": "how far back, tokens",
    "spread": "over how many tokens",
}
SHARES = ("start", "itself", "before", "same", "followers")
"""Shares of attention on text; what else is looked at are the mean distance, and the exponential of its entropy."""
CALLED = 0.25
"""A head is called by a pattern if so much of its attention, beyond chance, goes there for certain."""
SHOWN = 48
"""Heads on the front page."""


def excess(raw: Raw, network: str, pattern: str) -> np.ndarray:
    """(rows, heads) share of attention on the pattern, minus the same where there is none."""
    found: np.ndarray = raw[f"{network}/{pattern}"].astype(float) - raw[f"{network}/{pattern}/null"]
    return found


def best(raw: Raw, network: str, pattern: str) -> int:
    """The head with the largest excess on the first half of the sequences; what is measured is the other half."""
    rows = len(raw[f"{network}/{pattern}"]) // 2
    return int(np.nan_to_num(excess(raw, network, pattern)[:rows].mean(0), nan=-np.inf).argmax())


def head_figures(raw: Raw, *, draws: int, seed: int) -> Mapping[str, Interval]:
    """Figures by name, intervals over sequences of random tokens.

    `heads.PATTERN.NETWORK`: excess over chance of the clearest head of the first half of them, on the other half.
    `heads.PATTERN.gain`: that minus the untrained network's. `heads.copying.NETWORK`: how much cheaper the second copy
    is, nats a token. `heads.without.induction`, `.others`: how much dearer it gets with the clearest induction head, or
    one of the others, at its mean; `.difference` of the two. `heads.copying-induction`: Spearman, over heads, of that
    rise with the excess on the induction pattern.
    """
    half = len(raw[f"{TRAINED}/first"]) // 2
    found: dict[str, Interval] = {}
    for pattern in PATTERNS:
        told = {}
        for network in map(str, raw["networks"]):
            told[network] = excess(raw, network, pattern)[half:, best(raw, network, pattern)]
            found[f"heads.{pattern}.{network}"] = _mean(told[network])
        if UNTRAINED in told:
            found[f"heads.{pattern}.gain"] = _mean(told[TRAINED] - told[UNTRAINED])
    for network in map(str, raw["networks"]):
        found[f"heads.copying.{network}"] = _mean(raw[f"{network}/first"].astype(float) - raw[f"{network}/second"])
    rises = rise(raw)[:, half:]
    mine = best(raw, TRAINED, "induction")
    found["heads.without.induction"] = _mean(rises[mine])
    if len(rises) > 1:
        others = np.delete(rises, mine, axis=0).mean(0)
        found["heads.without.others"] = _mean(others)
        found["heads.without.difference"] = _difference(rises[mine], others)
    found["heads.copying-induction"] = _agreement(
        rise(raw).mean(1), excess(raw, TRAINED, "induction").mean(0), draws, seed
    )
    return found


def rise(raw: Raw) -> np.ndarray:
    """(heads, rows) loss of the second copy without a head, minus that with it."""
    found: np.ndarray = raw["without"].astype(float) - raw[f"{TRAINED}/second"]
    return found


def _mean(values: np.ndarray) -> Interval:
    if not np.isfinite(values).all():
        return refused("attention or loss is not finite", n=len(values), clusters=len(values), method="t")
    return mean_interval(values)


def _difference(a: np.ndarray, b: np.ndarray) -> Interval:
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return refused("losses are not finite", n=len(a), clusters=len(a), method="t")
    return paired_difference(a, b)


def _agreement(a: np.ndarray, b: np.ndarray, draws: int, seed: int) -> Interval:
    def spearman(rows: np.ndarray) -> float:
        if np.ptp(a[rows]) == 0 or np.ptp(b[rows]) == 0:
            return float("nan")
        return float(np.corrcoef(scipy_stats.rankdata(a[rows]), scipy_stats.rankdata(b[rows]))[0, 1])

    if len(a) < 6 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return refused(f"{len(a)} heads, or values that are not finite", n=len(a), clusters=len(a), method="percentile")
    return bootstrap_interval(spearman, len(a), method="percentile", seed=seed, draws=draws)


def head_columns(raw: Raw) -> Findings:
    """For index, pages and front page: what each head is called, and how far that holds."""
    rows = np.arange(len(raw[f"{TRAINED}/first"]))
    told = {}
    for pattern in PATTERNS:
        values = excess(raw, TRAINED, pattern)
        told[pattern] = (values.mean(0), *clustered(values, rows))
    worse = rise(raw).T
    told["copying"] = (worse.mean(0), *clustered(worse, rows))
    looks = {
        name: (
            raw[f"look/{name}"].astype(float).mean(0),
            *clustered(raw[f"look/{name}"].astype(float), raw["documents"]),
        )
        for name in LOOKS
    }
    lows = np.stack([told[pattern][1] for pattern in PATTERNS])
    which = np.nan_to_num(lows, nan=-np.inf).argmax(0)
    called = np.where(lows.max(0) >= CALLED, np.array(list(PATTERNS.values()))[which], "")
    columns = {"attends to": called, **{f"{name} excess": told[name][0] for name in PATTERNS}}
    columns["copying loss"] = told["copying"][0]
    lines = {}
    for head in range(len(raw["units"])):
        own = [
            (f"attends to {title}", *_three(told[name], head), f"share beyond chance ({_null(raw, name, head):.3f})")
            for name, title in PATTERNS.items()
        ]
        own.append(("second copy without it", *_three(told["copying"], head), "rise of the loss, nats a token"))
        own += [(f"on text: {title}", *_three(looks[name], head), "") for name, title in LOOKS.items()]
        lines[head] = own
    return Findings(
        sites=raw["sites"], units=raw["units"], columns=columns, causal=lines,
        tables=(_figures(raw), _heads(raw, told, called), _habits(raw, looks)),
        about={
            "attends to": f"where at least {CALLED:.0%} of its attention goes for certain, beyond chance",
            **{f"{name} excess": f"share of attention on {title}, beyond chance" for name, title in PATTERNS.items()},
            "copying loss": "how much dearer the second copy of random tokens gets without the head, nats a token",
        },
    )  # fmt: skip


def _null(raw: Raw, pattern: str, head: int) -> float:
    return float(raw[f"{TRAINED}/{pattern}/null"][:, head].mean())


def _three(values: tuple[np.ndarray, np.ndarray, np.ndarray], head: int) -> tuple[float, float, float]:
    return float(values[0][head]), float(values[1][head]), float(values[2][head])


def _figures(raw: Raw) -> Table:
    bare = UNTRAINED in raw["networks"]
    rows: list[list[Cell]] = []
    for pattern, title in PATTERNS.items():
        place = best(raw, TRAINED, pattern)
        row: list[Cell] = [f"attends to {title}", unit_of(str(raw["sites"][place]), int(raw["units"][place]))]
        row.append(Cited(f"heads.{pattern}.{TRAINED}"))
        rows.append(row + ([Cited(f"heads.{pattern}.{UNTRAINED}"), Cited(f"heads.{pattern}.gain")] if bare else []))
    last: list[Cell] = ["second copy cheaper than the first, nats a token", "", Cited(f"heads.copying.{TRAINED}")]
    rows.append(last + ([Cited(f"heads.copying.{UNTRAINED}"), None] if bare else []))
    names = {
        "induction": "second copy dearer without the clearest induction head",
        "others": "without another head, on average",
        "difference": "difference of the two",
    }
    for key, title in names.items():
        if key == "induction" or len(raw["units"]) > 1:
            cell: list[Cell] = [title, "", Cited(f"heads.without.{key}")]
            rows.append(cell + ([None, None] if bare else []))
    head = ["figure", "head", "value", *(["untrained", "difference"] if bare else [])]
    paragraph = (
        f"On {len(raw[f'{TRAINED}/first'])} sequences of {int(raw['half'][0])} random tokens, twice over. The clearest "
        "head is chosen on half of them and measured on the others, beyond what the same head does at the same places "
        "of tokens that don't repeat (for the token before: the one before that)."
    )
    return Table("Known attention patterns", paragraph, head, rows)


def _heads(raw: Raw, told: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], called: np.ndarray) -> Table:
    size = np.max([np.abs(np.nan_to_num(told[pattern][0])) for pattern in PATTERNS], axis=0)
    rows: list[list[Cell]] = [
        [
            unit_of(str(raw["sites"][head]), int(raw["units"][head])),
            str(called[head]),
            *(_three(told[name], head) for name in (*PATTERNS, "copying")),
        ]
        for head in np.argsort(-size, kind="stable")[:SHOWN].tolist()
    ]
    names = ("head", "attends to", *PATTERNS.values(), "second copy dearer without it")
    return Table("Heads on repeated random tokens", "Shares of attention beyond chance.", names, rows)


def _habits(raw: Raw, looks: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Table:
    rows: list[list[Cell]] = [
        [unit_of(str(raw["sites"][head]), int(raw["units"][head])), *(_three(looks[name], head) for name in LOOKS)]
        for head in range(min(SHOWN, len(raw["units"])))
    ]
    alike: list[Cell] = [float(raw[f"look/{name}/uniform"].mean()) if name in SHARES else None for name in LOOKS]
    rows.insert(0, ["all that can be seen, alike", *alike])
    paragraph = f"Shares of attention from each token, on {len(raw['documents'])} sequences of the corpus."
    return Table("What heads look at on text", paragraph, ("head", *LOOKS.values()), rows)
