"""Oversight on a GPU, tried on a device that is none: judges and generators that read a model from inside."""

from __future__ import annotations

from typing import Any

import numpy as np

from superalign.models import LocalModel, load_model
from superalign.oversight.lines import read_lines
from superalign.oversight.roles import Labelled, read, sample
from superalign.tasks.traces import random_program
from superalign.training.family_score import pair_scores

from ..elsewhere import same_there

PROGRAMS = [random_program(np.random.default_rng(i), 3) for i in range(4)]


def test_lines_and_pairs_of_functions() -> None:
    source = "def f(a, b):\n    c = a + b\n    return c"
    pairs = [(source, source.replace("+", "-")), (source, source.replace("return c", "return a"))]
    same_there(lambda model: read_lines(model, [source, "def g(x):\n    return x"]), load_model("family:xs"))
    same_there(lambda model: tuple(pair_scores(model, pairs)), load_model("family:xs"))


def test_roles_read_and_draw() -> None:
    """What is drawn is drawn from the same random numbers, so that samples are equal word for word."""

    def work(model: LocalModel) -> Any:
        made = sample(model, PROGRAMS, k=2, filled=2, temperature=1.5, seed=1)
        return made, read(model, made.as_data()).features

    same_there(work, load_model("family:xs"))


def test_words_of_unlike_texts_are_read() -> None:
    data = Labelled(
        texts=("v0 = v1 + v2", "return v0"), words=((0, 1, 2), (0, 1)), place=np.array([1, -1]),
        clusters=np.array(["a", "b"]), near=0,
    )  # fmt: skip
    same_there(lambda model: read(model, data).features, load_model("family:xs"))
