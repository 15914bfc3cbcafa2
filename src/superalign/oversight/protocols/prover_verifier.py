"""Prover and verifier: a small verifier is trained against provers that convince it, of the truth and of its opposite.

In each round the helpful prover argues for the true answer and the sneaky one for the other, both as convincingly as
search against the current verifier makes them; then the verifier is fitted to all transcripts so far (Anil et al. 2021,
2108.12099; Kirchner et al. 2024, 2407.13692, §3). What is played is a consultancy, by provers that know the verifier.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from superalign.oversight.advisers.search import against
from superalign.oversight.judges.adapted import AdaptedJudge, fitted_to
from superalign.oversight.play import play
from superalign.oversight.protocols.consultancy import consultancy
from superalign.oversight.protocols.controls import QUOTES
from superalign.oversight.table import Lesson, Protocol
from superalign.oversight.types import Players, View

NAME = "prover-verifier"


def prover_verifier(*, turns: int = QUOTES, rounds: int = 3) -> Protocol:
    """`turns` quotes of one prover; verifier and provers are trained against each other for `rounds`."""
    protocol = replace(
        consultancy(turns=turns),
        name=NAME,
        title=f"one prover, helpful or sneaky, {turns} quotes; a verifier trained on both",
        train=lambda lesson: _trained(protocol, lesson, rounds),
        source="Anil et al. 2021, 2108.12099; Kirchner et al. 2024, 2407.13692, §3",
    )
    return protocol


def _trained(protocol: Protocol, lesson: Lesson, rounds: int) -> Players:
    base, prover = lesson.players["judge"], lesson.players["adviser"]
    verifier: AdaptedJudge | None = None
    views: list[View] = []
    first: list[float] = []
    truth = {case.item: answer for case, answer in zip(lesson.cases, lesson.answers, strict=True)}
    for turn in range(rounds):
        judge = verifier or base
        players = {**lesson.players, "judge": judge, "adviser": against(judge, prover)}
        for episode in play(protocol, lesson.cases, players, seed=lesson.seed + turn):
            views.append(episode.view)
            first.append(float(truth[episode.item] == 0))
        verifier = fitted_to(base, NAME, views, np.array(first))
    judge = verifier or base
    return {**lesson.players, "judge": judge, "adviser": against(judge, prover)}
