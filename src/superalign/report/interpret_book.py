"""`write_interpretation`: every unit of a network as a book of pages, from a ledger and what it keeps alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from superalign.evidence import SuperalignError, Workspace
from superalign.interpretability.corpus import Corpus
from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.interpret_corpus import corpus_of
from superalign.pipeline.interpret_findings import Findings
from superalign.pipeline.interpret_kept import Explained, Explanations, explanations_of, simulations, untrained_mean
from superalign.pipeline.interpret_parts import COLUMNS
from superalign.pipeline.interpret_recount import Interpretation, interpretations_of
from superalign.pipeline.stored import Stored
from superalign.report.book import Book, write_book
from superalign.report.interpret_sections import Events, sections_of
from superalign.report.interpret_unit import unit_page

if TYPE_CHECKING:
    from superalign.interpretability.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Everything that one interpretation keeps, read once."""

    ws: Workspace
    one: Interpretation
    vocabulary: Sequence[str]

    @cached_property
    def done(self) -> Stored:
        """Results by stage."""
        return Stored(self.ws, self.one)

    @cached_property
    def corpus(self) -> Corpus:
        """What was read."""
        return corpus_of(self.ws.store.get(self.done("corpus")["corpus"]))

    @cached_property
    def recording(self) -> Recording:
        """Sketches of every unit."""
        from superalign.interpretability.recording import Recording

        return Recording.load(self.ws.store.path(self.done("recording")["recording"]))

    @cached_property
    def explanations(self) -> Explanations:
        """Of every unit."""
        return explanations_of(self.one.desk(self.ws), self.one.config, self.done)

    @cached_property
    def findings(self) -> Mapping[str, Findings]:
        """Of the other parts, by name."""
        return {
            part: COLUMNS[part](self.arrays(part))
            for part in COLUMNS
            if part in self.one.config.parts and self.done(part)
        }

    @cached_property
    def rows_of(self) -> Mapping[str, Mapping[tuple[str, int], int]]:
        """Part → (site, unit) → row in its findings."""
        return {
            part: {key: row for row, key in enumerate(zip(found.sites.tolist(), found.units.tolist(), strict=True))}
            for part, found in self.findings.items()
        }

    @cached_property
    def neighbours(self) -> Mapping[str, np.ndarray]:
        """Rows and correlations."""
        return self.arrays("neighbours") if self.done("neighbours") else {}

    @cached_property
    def events(self) -> Events:
        """Numbers by name, each with the event that holds it."""
        return Events.of(self.ws, self.one.key)

    @cached_property
    def places(self) -> list[tuple[int, int]]:
        """Of each row of the index: number of its site, and unit."""
        return [(i, unit) for i, each in enumerate(self.explanations.trained) for unit in range(len(each.best))]

    @cached_property
    def row_of(self) -> Mapping[tuple[str, int], int]:
        """Row of the index of (site, unit)."""
        sites = self.explanations.trained
        return {(sites[i].site, unit): row for row, (i, unit) in enumerate(self.places)}

    def arrays(self, stage: str) -> dict[str, np.ndarray]:
        """What a stage kept."""
        return arrays_from_bytes(self.ws.store.get(self.done(stage)["kept"]))


def write_interpretation(ws: Workspace, folder: Path, *, interpretation: str | None = None) -> Path:
    """Write the book of one interpretation to `folder`; without a key, of the last that was finished.

    Raises SuperalignError where there is none, an object can't be read, or the folder holds anything else.
    """
    found = [one for one in interpretations_of(ws)[0] if interpretation in (None, one.key)]
    ready = [one for one in found if Stored(ws, one)("scores, explanations") is not None]
    if not ready:
        raise SuperalignError(f"{ws.path} holds no finished interpretation: run `superalign interpret`")
    one = ready[-1]
    kept = Kept(ws=ws, one=one, vocabulary=_vocabulary(one))
    book = Book(
        title=one.config.model,
        identity=one.subject,
        facts=_facts(kept),
        columns=columns_of(kept),
        sections=sections_of(kept.events, kept.findings, kept.explanations),
        units=lambda row: unit_page(kept, row),
        about=ABOUT | {_named(part, n): text for part, each in kept.findings.items() for n, text in each.about.items()},
    )
    return write_book(book, folder)


OWN = ("site", "unit", "text", "family", "bits", "untrained", "ablation", "mean", "sd", "highest", "lowest")
ABOUT = {
    "untrained": "Control: mean r of rules at the same part of networks of this shape that were never trained.",
    "shuffled": "Control: r of another unit's explanation, with this unit.",
    "text": "The readable explanation that explains most on text held in for choosing, for its length. The unit's page has the others.",
}


def _vocabulary(one: Interpretation) -> Sequence[str]:
    from superalign.interpretability.explanation import words_of
    from superalign.models import load_model

    model = load_model(one.config.model)
    if model.identity != one.subject:
        raise SuperalignError(f"{one.config.model} is now {model.identity}, and {one.subject} was looked into")
    return words_of(model)


def _facts(kept: Kept) -> dict[str, str]:
    recording, corpus, body = kept.done("recording"), kept.done("corpus"), kept.one.event.body
    held = kept.explanations
    return {
        "units": f"{sum(site['units'] for site in recording['sites']):,} in {len(recording['sites'])} parts",
        "read": f"{recording['tokens']:,} tokens of {corpus['documents']:,} documents; scores are of "
        f"{corpus['tokens']['validation']:,} that nothing was explained from",
        "controls": "unigram table, another unit's explanation, "
        + (f"{len(held.fresh)} untrained networks" if held.fresh else "no untrained network"),
        "held-out windows looked at": f"{held.windows:,}, all scores together; of text set apart for once: none",
        "recording": recording["digest"],
        "text": corpus["digest"],
        "version": f"superalign {body['version']}, torch {body['machine']['torch']}, {body['machine']['cpus']} CPUs",
        "ledger": kept.ws.ledger.head,
    }


def columns_of(kept: Kept) -> dict[str, Any]:
    """Arrays of the index: what is said of each unit, what that is worth, and what was found besides."""
    sites = kept.explanations.trained
    shown = [site.shown for site in sites]
    found: dict[str, Any] = {
        "site": [site.site for site in sites for _ in site.best],
        "unit": [unit for site in sites for unit in range(len(site.best))],
        "text": [text for site in sites for text in _best(site, "text")],
        "family": [site.families[number] for site in sites for number in site.best],
        "bits": np.concatenate([_best(site, "bits") for site in sites]),
        "untrained": np.concatenate(
            [np.full(len(site.best), untrained_mean(kept.explanations.fresh, site.site)) for site in sites]
        ),
        "ablation": np.concatenate([_simulated(site) for site in sites]),
    }
    found |= {name: np.concatenate([each[name] for each in shown]) for name in shown[0]}
    sketches = [kept.recording.sketch(site.site, "train") for site in sites]
    found |= {
        "mean": np.concatenate([sketch.mean for sketch in sketches]),
        "sd": np.concatenate([np.sqrt(sketch.variance) for sketch in sketches]),
        "highest": np.concatenate([sketch.high.values[:, 0] for sketch in sketches]),
        "lowest": np.concatenate([np.full(s.units, np.nan) if s.low is None else s.low.values[:, 0] for s in sketches]),
    }
    for part, findings in kept.findings.items():
        for name, values in findings.columns.items():
            found[_named(part, name)] = _placed(kept, findings, values)
    return found


def _named(part: str, name: str) -> str:
    """A part's column, told apart from the book's own of that name."""
    return f"{part} {name}" if name in OWN else name


def _placed(kept: Kept, findings: Findings, values: np.ndarray) -> list[Any]:
    """A part's column on the rows of the index; None where it measured nothing."""
    out: list[Any] = [None] * len(kept.places)
    for site, unit, value in zip(findings.sites.tolist(), findings.units.tolist(), values.tolist(), strict=True):
        if (row := kept.row_of.get((site, unit))) is not None:
            out[row] = value
    return out


def _best(site: Explained, name: str) -> Any:
    return site.kept[name][site.best, np.arange(len(site.best))]


def _simulated(site: Explained) -> np.ndarray:
    found = np.full(len(site.best), np.nan)
    for name, score in simulations(site):
        if name != "all" and score.value is not None:
            found[int(name)] = score.value
    return found
