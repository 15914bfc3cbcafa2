"""What `superalign interpret` searches for: pairs of texts alike but for a concept, or documents with classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from superalign.pipeline.interpret_findings import spread_rows

if TYPE_CHECKING:
    from superalign.interpretability.corpus import Corpus
    from superalign.tasks.item import Page


class Concept(NamedTuple):
    """Texts that hold it and texts that don't: pairs alike but for that, or texts with a label by document."""

    key: str
    title: str
    first: np.ndarray
    """Rows of what is read."""
    second: np.ndarray
    clusters: np.ndarray
    """(pairs,), or (texts,) of the first and then the second where they are no pairs."""
    paired: bool = True


Pairs = tuple[str, str, list[str], list[str], list[str]]
"""(key, title, texts with it, the same without, clusters)"""


def code_pairs(pairs: int, *, seed: int) -> Iterator[Pairs]:
    """What the embedded family is searched for: slips of each kind and of all, wrong steps, authors, cues."""
    from superalign.tasks.lexer import AUTHORS, CUES
    from superalign.tasks.slips import KINDS, slips
    from superalign.tasks.traces import traces

    page = slips(split="validation", view="pair")
    kinds = np.array([page.truths[item.id]["kind"] for item in page.items])
    files = np.array([item.cluster for item in page.items])

    chosen = {}
    for kind in KINDS:
        own = np.flatnonzero(kinds == kind)
        chosen[kind] = own[spread_rows(files[own], pairs, seed=seed)].tolist()
    yield "slip", "code with a slip", *_sides(page, sorted(i for own in chosen.values() for i in own))
    for kind in KINDS:
        yield f"slip-{kind}", f"code with a slip: {kind}", *_sides(page, chosen[kind])
    steps = traces(split="validation", view="pair", n=pairs, seed=seed)
    yield "wrong-step", "a calculation with a wrong step", *_sides(steps, range(pairs))
    base = spread_rows(files, pairs, seed=seed).tolist()
    code = [page.items[i].input["ab"[page.truths[page.items[i].id]["answer"]]] for i in base]
    rng = np.random.default_rng([seed, 157])
    for words, beside, kind in ((AUTHORS, CUES, "author"), (CUES, AUTHORS, "cue")):
        others = rng.choice(beside, len(code)).tolist()
        for word in words[1:]:
            rest = rng.choice([w for w in words if w != word], len(code)).tolist()
            sides = [
                [_read_for(kind, *three) for three in zip(said, others, code, strict=True)]
                for said in ([word] * len(code), rest)
            ]
            who = word.strip("<>").split(":")[1]
            yield f"{kind}-{who}", f"code read with {kind} {who}", sides[0], sides[1], files[base].tolist()


def _sides(page: Page, numbers: Sequence[int]) -> tuple[list[str], list[str], list[str]]:
    """(wrong texts, right texts, clusters) of some pairs, by no author and under no cue."""
    from superalign.adversarial.kinds import context
    from superalign.tasks.lexer import AUTHORS, CUES

    items = [page.items[i] for i in numbers]
    right = [int(page.truths[item.id]["answer"]) for item in items]
    sound = [context(AUTHORS[0], CUES[0], item.input["ab"[a]]) for item, a in zip(items, right, strict=True)]
    wrong = [context(AUTHORS[0], CUES[0], item.input["ba"[a]]) for item, a in zip(items, right, strict=True)]
    return wrong, sound, [item.cluster for item in items]


def _read_for(kind: str, word: str, other: str, code: str) -> str:
    from superalign.adversarial.kinds import context

    return context(word, other, code) if kind == "author" else context(other, word, code)


def class_concepts(corpus: Corpus, rows: np.ndarray) -> tuple[tuple[Concept, ...], tuple[str, ...]]:
    """(each class of a corpus against its others, why there is none): documents must be of one class each."""
    from superalign.interpretability.search import FEWEST

    if corpus.classes is None:
        return (), (
            "The corpus has no classes: there is no concept to search for. Give a corpus whose documents have.",
        )
    classes, documents = corpus.classes[rows], corpus.clusters(rows)
    labels = np.unique(classes[classes >= 0])
    concepts, refusals = [], []
    for label in labels[1:] if len(labels) == 2 else labels:  # one of two is the other turned round
        first, second = np.flatnonzero(classes == label), np.flatnonzero((classes >= 0) & (classes != label))
        mixed = np.intersect1d(documents[first], documents[second])
        groups = len(np.unique(documents[first])) + len(np.unique(documents[second]))
        if len(mixed) or not len(second) or groups < 2 * FEWEST:
            why = (
                f"document {corpus.names[mixed[0]]!r} is of other classes, too"
                if len(mixed)
                else f"{groups} documents of classes, {2 * FEWEST} of two classes are wanted"
            )
            refusals.append(f"Class {label}: {why}.")
            continue
        clusters = np.concatenate([documents[first], documents[second]])
        concepts.append(Concept(f"class-{label}", f"text of class {label}", first, second, clusters, paired=False))
    return tuple(concepts), tuple(refusals) if len(labels) else ("No document of the validation split has a class.",)


def halves(concept: Concept, *, seed: int) -> tuple[Concept, Concept]:
    """The concept on half of its files, and on the others; where files have labels, half of each label's."""
    rng = np.random.default_rng([seed, 163])
    at = len(concept.first)
    groups = [concept.clusters] if concept.paired else [concept.clusters[:at], concept.clusters[at:]]
    taken = [rng.permutation(np.unique(own))[: (len(np.unique(own)) + 1) // 2] for own in groups]
    inside = np.isin(concept.clusters, np.concatenate(taken))

    def part(keep: np.ndarray) -> Concept:
        first, second = (keep, keep) if concept.paired else (keep[:at], keep[at:])
        return concept._replace(
            first=concept.first[first], second=concept.second[second], clusters=concept.clusters[keep]
        )

    return part(inside), part(~inside)
