"""The front page of a book of units: tables from the ledger's measurements, each number with the event that holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from superalign.evidence import Workspace
from superalign.pipeline.interpret_findings import Cell, Cited, Findings, Table
from superalign.pipeline.interpret_kept import Explanations
from superalign.report.book import Amount, Score, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """The measurements of one interpretation, by name."""

    found: Mapping[str, Amount]
    tags: Mapping[str, Mapping[str, object]]
    counts: Mapping[str, int]
    """What each was measured on: of a mean over units, how many."""

    @classmethod
    def of(cls, ws: Workspace, key: str) -> Events:
        """From the ledger."""
        found, tags, counts = dict[str, Amount](), dict[str, Mapping[str, object]](), dict[str, int]()
        for event in ws.ledger.events("measurement"):
            if event.body["tags"].get("interpretation") == key:
                name = str(event.body["name"]).removeprefix("interpret.")
                body = event.body
                found[name] = Amount(value=body["value"], low=body["low"], high=body["high"], event=event.seq)
                tags[name], counts[name] = body["tags"], body["n"]
        return cls(found=found, tags=tags, counts=counts)

    def get(self, name: str) -> Amount | None:
        """One number."""
        return self.found.get(name)


def sections_of(events: Events, findings: Mapping[str, Findings], explanations: Explanations) -> list[Section]:
    """What is known of the whole network, before any single unit."""
    parts = [families_section(events, explanations), gaps_section(events, explanations)]
    parts += [sites_section(events, explanations), judged_section(events, explanations)]
    parts.append(answers_section(events, explanations))
    for part, found in findings.items():
        parts += [_section(events, part, table) for table in found.tables]
    return [part for part in parts if part is not None and part.rows]


def families_section(events: Events, explanations: Explanations) -> Section:
    """Every family over all neurons: its length, its score, what it gains over the unigram table."""
    names, every = explanations.trained[0].families, events.counts.get("r.unigram.trained", 0)
    rows: list[Sequence[str | Score]] = []
    for family in names:
        score = events.get(f"r.{family}.trained")
        if score is None:
            continue
        bits = str(events.tags[f"r.{family}.trained"].get("bits", "none"))
        length = "" if bits == "none" else f"{float(bits):,.0f}"
        n = events.counts[f"r.{family}.trained"]
        name = family if n == every else f"{family}, of {n:,} neurons"
        rows.append([name, length, score, events.get(f"gain.{family}.trained")])
    share = events.get("findings")
    beating = "" if share is None or share.value is None else (
        f"What is shown of {share.value:.1%} of the neurons beats every control by its interval (event {share.event}). "
    )  # fmt: skip
    return Section(
        title="What explains the neurons",
        paragraph=f"{beating}Mean correlation of predicted and real activation over all neurons, on random held-out windows (not on "
        "the windows where they are highest), and the share of what the unigram table leaves that is explained besides. "
        "Shuffled: each neuron told by another one's explanation. Intervals resample documents.",
        head=("explanation", "bits a neuron", "r", "gain over unigram"),
        rows=rows,
    )


def gaps_section(events: Events, explanations: Explanations) -> Section | None:
    """The trained network against untrained ones."""
    if not explanations.fresh:
        return None
    families, rows = next(iter(explanations.fresh.values()))[0].families, list[Sequence[str | Score]]()
    for family in families:
        gap = events.get(f"gap.{family}")
        if gap is not None:
            mean = [events.get(f"r.{family}.untrained {seed}") for seed in explanations.fresh]
            known = [each.value for each in mean if each is not None and each.value is not None]
            rows.append([family, events.get(f"r.{family}.trained"), sum(known) / len(known) if known else None, gap])
    for name, what in (
        ("context", "what the tokens before add to unigram"),
        ("bag", "what a bag of words adds to trigram"),
    ):
        fresh = [events.get(f"{name}.untrained {seed}") for seed in explanations.fresh]
        known = [each.value for each in fresh if each is not None and each.value is not None]
        if known:
            rows.append([what, events.get(f"{name}.trained"), sum(known) / len(known), events.get(f"{name}.gap")])
    return Section(
        title="Is that more than an untrained network gives?",
        paragraph=f"The same explanations of {len(explanations.fresh)} networks of the same shape that were never trained. "
        "A family with a gap below zero finds untrained neurons easier to explain: its score says nothing of what was "
        "learned. Intervals are over documents and untrained networks.",
        head=("explanation", "r, trained", "r, untrained (mean)", "trained less untrained"),
        rows=rows,
    )


def sites_section(events: Events, explanations: Explanations) -> Section:
    """Each part of the network by itself."""
    rows: list[Sequence[str | Score]] = []
    for each in explanations.trained:
        told = [
            events.get(f"{name}.{each.site}")
            for name in ("r.unigram", "r.refined", "r.refined, shuffled", "top.refined")
        ]
        rows.append([each.site, *told, events.get(f"simulation.{each.site}.all")])
    return Section(
        title="Part by part",
        paragraph="Mean r of the unigram table and of refined rules on random windows, of another unit's rules, and of "
        "refined rules on top and random windows together, which is what most published scores are. Last: all units of "
        "the part replaced by what their rules predict; 1 changes nothing of what the model says, 0 is no better than "
        "their means.",
        head=("part", "unigram", "refined", "refined, shuffled", "refined, top and random", "all put in their place"),
        rows=rows,
    )


def judged_section(events: Events, explanations: Explanations) -> Section:
    """Other ways to score the same explanations."""
    rows: list[Sequence[str | Score]] = []
    for each in explanations.trained:
        for family in map(str, each.kept.get("top families", ())):
            told = [events.get(f"{task}.{family}.{each.site}") for task in ("detection", "fuzzing", "all and only")]
            rows.append([each.site, family, *told])
    return Section(
        title="Other scores of the same explanations",
        paragraph="Detection: does a window activate the unit? Fuzzing: is the highlighted token the right one? AUROC each, "
        "½ is a coin. All and only: F1 of firing on all that the explanation names and on nothing else.",
        head=("part", "explanation", "detection", "fuzzing", "all and only"),
        rows=rows,
    )


def answers_section(events: Events, explanations: Explanations) -> Section:
    """What became of a language model's answers."""
    rows: list[Sequence[str | Score]] = []
    for each in explanations.trained:
        score = events.get(f"garbage.{each.site}")
        if score is not None:
            tags = events.tags[f"garbage.{each.site}"]
            rows.append([each.site, float(str(tags["asked"])), score, str(tags["kinds"])])
    return Section(
        title="A language model's explanations",
        paragraph="The units of each part that vary most were put to a language model, by windows of held-in text. What it "
        "says is compiled and scored like all else; answers that can't be read or checked are counted, and never scored.",
        head=("part", "asked", "not usable", "why"),
        rows=rows,
    )


def _section(events: Events, part: str, table: Table) -> Section:
    """A part's table, its figures by the events that hold them."""

    def shown(cell: Cell) -> str | Score:
        return events.get(cell.figure) if isinstance(cell, Cited) else cell

    return Section(
        title=table.title,
        paragraph=table.paragraph,
        head=table.head,
        rows=[[shown(c) for c in row] for row in table.rows],
    )
