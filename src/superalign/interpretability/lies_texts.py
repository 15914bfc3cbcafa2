"""Texts told truthfully and lying, and how they are parted: by template and topic at once, so that neither leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

SHARES = (0.5, 0.25, 0.25)
"""Of texts by template, and by topic, for train, dev and test."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """n texts, of which some are lies. Raises ValueError for other lengths, or labels that are not 0 or 1."""

    texts: tuple[str, ...]
    lie: np.ndarray
    """(n,) 1 for a lie, 0 for a truth."""
    templates: tuple[str, ...]
    """What the text is framed by: an instruction, a context."""
    topics: tuple[str, ...]
    """What it is about: a statement, a source file. What intervals resample."""

    def __post_init__(self) -> None:
        n = len(self.texts)
        counts = len(self.lie), len(self.templates), len(self.topics)
        if counts != (n, n, n):
            raise ValueError(f"{n} texts and {counts} labels, templates and topics: give one of each a text")
        if not np.isin(self.lie, (0, 1)).all():
            raise ValueError(f"labels {np.unique(self.lie)[:5]}: 1 is a lie, 0 a truth")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """Row numbers of each part, and how many rows fit into none: their template and topic went different ways."""

    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray
    dropped: int


def contrast_pairs(templates: Mapping[str, tuple[str, str]], statements: Mapping[str, str]) -> Told:
    """Every statement under every template, told truthfully and lying; templates hold `{}` for the statement.

    >>> contrast_pairs({"plain": ("truly {}", "falsely {}")}, {"sky": "the sky is blue"}).texts
    ('truly the sky is blue', 'falsely the sky is blue')
    """
    rows = [(t, s, lie) for t in templates for s in statements for lie in (0, 1)]
    return Told(
        texts=tuple(templates[t][lie].replace("{}", statements[s]) for t, s, lie in rows),
        lie=np.array([lie for *_, lie in rows], dtype=np.int64),
        templates=tuple(t for t, *_ in rows),
        topics=tuple(s for _, s, _ in rows),
    )


def stating(templates: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """Words by which the two versions of a template differ: they state the label, and are hidden from probes.

    >>> stating({"plain": ("truly {}", "falsely {}")})
    ('falsely', 'truly')
    """
    return tuple(sorted({w for true, false in templates.values() for w in {*true.split()} ^ {*false.split()}}))


def parted(*sets: Told, seed: int = 0, shares: tuple[float, float, float] = SHARES) -> tuple[Parts, ...]:
    """Parts of each set. A template or topic lies on the same side in all of them, so that probes may be carried over.

    Rows whose template went to one side and topic to another are dropped and counted. Raises ValueError where a set has
    fewer than three templates or topics, or a part of it lacks a class.
    """
    rng = np.random.default_rng([seed, 47])
    sides: dict[tuple[str, str], int] = {}
    for told in sets:
        for kind, names in (("template", told.templates), ("topic", told.topics)):
            _assign(sides, kind, Counter(names), shares, rng)
    return tuple(_parts(told, sides) for told in sets)


def _assign(
    sides: dict[tuple[str, str], int],
    kind: str,
    texts: Mapping[str, int],
    shares: Sequence[float],
    rng: np.random.Generator,
) -> None:
    """Give each new name, with its number of texts, to the side that is furthest below its share of them."""
    if len(texts) < 3:
        raise ValueError(f"{len(texts)} {kind}s ({', '.join(texts)}): three are needed, one for each of three parts")
    have = np.zeros(3)
    for name in texts:
        if (kind, name) in sides:
            have[sides[kind, name]] += texts[name]
    for name in rng.permutation(sorted(name for name in texts if (kind, name) not in sides)).tolist():
        side = int(np.argmin(have / np.asarray(shares)))
        sides[kind, name] = side
        have[side] += texts[name]


def _parts(told: Told, sides: Mapping[tuple[str, str], int]) -> Parts:
    template = np.array([sides["template", name] for name in told.templates])
    topic = np.array([sides["topic", name] for name in told.topics])
    rows = [np.flatnonzero((template == side) & (topic == side)) for side in range(3)]
    for name, part in zip(("train", "dev", "test"), rows, strict=True):
        if len(np.unique(told.lie[part])) < 2:
            raise ValueError(
                f"{name}: {len(part)} texts with one class: bring more of both in every template and topic"
            )
    return Parts(train=rows[0], dev=rows[1], test=rows[2], dropped=int((template != topic).sum()))


def refuse_leakage(told: Told, parts: Parts, tested: tuple[Told, Parts] | None = None) -> None:
    """ValueError where a template or topic of one part lies in another too; with `tested`, where one of `told`'s train
    or dev part lies in the test part of those.
    """
    held, held_parts = tested or (told, parts)
    pairs = [(parts.train, "train", held, held_parts.test, "test"), (parts.dev, "dev", held, held_parts.test, "test")]
    pairs += [] if tested else [(parts.train, "train", told, parts.dev, "dev")]
    for mine, first, other, theirs, second in pairs:
        for kind, here, there in (
            ("template", told.templates, other.templates),
            ("topic", told.topics, other.topics),
        ):
            if shared := {here[i] for i in mine} & {there[i] for i in theirs}:
                raise ValueError(
                    f"{len(shared)} {kind}s lie in {first} and in {second}, as {min(shared)!r}: what is learned there "
                    "is measured there; part by `parted`"
                )
