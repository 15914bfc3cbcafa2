"""Internal coherence maximisation (Wen et al. 2025, 2506.10139): find the labels that explain one another best.

U = α · mean over labelled items of log P(label | all other questions' labels) − number of questions whose two orders
got the same label. Simulated annealing from 8 random labels: propose for one question the label that the others make
likelier, keep it if U rises, or with probability exp(ΔU/T), T = max(.01, 10/(1 + 2 ln(1 + step))); 3,000 steps, α 50.

Where we deviate, since the student is a head on frozen features and no prompt: (1) "given all other labels in context"
is ridge regression on ±1, leave-one-question-out in closed form from the hat matrix: one new label moves predictions by
one of its columns. Log-odds are those of the model's zero-shot belief, which a prompted model brings along, plus 2f/s²,
f the prediction and s² its mean squared error, both left-one-out. (2) An unlabelled question counts as 0, not as
absent, so that the hat matrix stays. (3) Both orders of a pair are its two items; whoever labels one labels the other
by logic, so only the first, random labels contradict themselves. (4) Questions come in shuffled sweeps. (5) The search
labels at most 1,024 questions; the same ridge labels the rest, softly, and a head is fitted on all. Single texts are
one item each.

The blind variant has no belief to start from. It often ends in poor labellings, and U tells which: the best of six
searches counts. Both signs are equally coherent, and the supervisor's labels choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from superalign.generalization.lesson import HeadStudent, Lesson, Method
from superalign.generalization.methods.crc import side
from superalign.generalization.methods.regularised import PENALTY
from superalign.generalization.reading import log_odds, probability

ALPHA = 50.0
STEPS = 3_000
FIRST = 8
"""Questions labelled at random to start with."""
STARTS = 6
"""Searches of the blind variant."""
SEARCHED = 1_024
RIDGE = 4 * PENALTY
"""Penalty per question, on features of deviation 1: squared error curves four times as much as logistic loss at 0."""
SOURCE = "Wen et al. 2025, 2506.10139"


@dataclass(slots=True, kw_only=True)
class Labelling:
    """A labelling under search: m questions of one order or two, and what a ridge makes of it."""

    hat: np.ndarray
    """(m, m): X (XᵀX + λI)⁻¹ Xᵀ."""
    prior: np.ndarray
    """(m,) log-odds of yes before any label."""
    labels: np.ndarray
    """(m, orders) 1, −1, or 0 for none; of the second order 1 means that its first text is right."""
    fitted: np.ndarray
    """(m,) hat @ target, kept in step with the labels."""

    @property
    def target(self) -> np.ndarray:
        """(m,) what the labels of a question say together, in its first order: 0 where they contradict each other."""
        return self.labels[:, 0] if self.labels.shape[1] == 1 else (self.labels[:, 0] - self.labels[:, 1]) / 2

    def put(self, question: int, labels: np.ndarray) -> None:
        """Label one question; O(m)."""
        before = self.target[question]
        self.labels[question] = labels
        self.fitted += self.hat[:, question] * (self.target[question] - before)

    def left_out(self) -> np.ndarray:
        """(m,) what the ridge says of each question, fitted on the others."""
        own = self.hat.diagonal()
        return np.asarray((self.fitted - own * self.target) / (1 - own))

    def error(self, left_out: np.ndarray) -> float:
        """Mean squared error of those predictions for labelled questions, at least .05."""
        there = self.labels[:, 0] != 0
        return max(0.05, float(((self.target - left_out)[there] ** 2).mean()))

    def told(self) -> np.ndarray:
        """(m,) log-odds of yes, given all other questions' labels."""
        left_out = self.left_out()
        return np.asarray(self.prior + 2 * left_out / self.error(left_out))


def unlabelled(hat: np.ndarray, prior: np.ndarray, orders: int) -> Labelling:
    """Nothing labelled yet."""
    count = len(prior)
    labels = np.zeros((count, orders), dtype=np.int64)
    return Labelling(hat=hat, prior=prior, labels=labels, fitted=np.zeros(count))


def utility(labels: np.ndarray, told: np.ndarray, alpha: float = ALPHA) -> float:
    """U of (m, orders) labels, of which the others say `told` (m,).

    >>> round(utility(np.array([[1, -1], [1, 1], [0, 0]]), np.zeros(3), alpha=1.0), 3)
    -1.693
    """
    clash = 0
    if labels.shape[1] == 2:
        told = np.stack([told, -told], axis=1)
        clash = int(((labels[:, 0] == labels[:, 1]) & (labels[:, 0] != 0)).sum())
    facing = (labels * told.reshape(labels.shape))[labels != 0]
    return float(-alpha * np.logaddexp(0, -facing).mean() - clash)


def temperature(step: int) -> float:
    """T of a step, counted from 0.

    >>> temperature(0), round(temperature(2_999), 2)
    (10.0, 0.59)
    """
    return max(0.01, 10 / (1 + 2 * float(np.log1p(step))))


def annealed(labelling: Labelling, rng: np.random.Generator, *, steps: int = STEPS) -> Labelling:
    """Search, changing the labelling in place."""
    count, orders = labelling.labels.shape
    for question in rng.permutation(count)[:FIRST]:
        labelling.put(question, rng.choice([-1, 1], size=orders))
    told = labelling.told()
    value = utility(labelling.labels, told)
    for step in range(steps):
        if step % count == 0:
            sweep = rng.permutation(count)
        question = sweep[step % count]
        before, likelier = labelling.labels[question].copy(), 1 if told[question] > 0 else -1
        labelling.put(question, np.array([likelier, -likelier][:orders]))
        if (labelling.labels[question] == before).all():
            continue
        then = labelling.told()
        after = utility(labelling.labels, then)
        if after < value and rng.random() >= np.exp((after - value) / temperature(step)):
            labelling.put(question, before)
        else:
            value, told = after, then
    return labelling


def fit(lesson: Lesson) -> HeadStudent:
    """From the student model's own belief; the supervisor's labels are not looked at."""
    return lesson.head(_explained(lesson, log_odds(lesson.reading.belief), 1), weights=np.ones(len(lesson.reading)))


def fit_blind(lesson: Lesson) -> HeadStudent:
    """From nothing; the supervisor's labels choose between a labelling and its opposite."""
    p = _explained(lesson, np.zeros(len(lesson.reading)), STARTS)
    if side(p - 0.5, lesson.labels, lesson.weights) < 0:
        p = 1 - p
    return lesson.head(p, weights=np.ones(len(p)))


def _explained(lesson: Lesson, prior: np.ndarray, starts: int) -> np.ndarray:
    """(n,) P(yes): verdicts on questions of the search with the greatest U, and its ridge's beliefs on the others."""
    x, orders = lesson.reading.x.astype(np.float64), 2 if lesson.reading.paired else 1
    z = (x if lesson.reading.paired else x - x.mean(axis=0)) / (x.std(axis=0) + 1e-6)
    rng = np.random.default_rng([lesson.seed, 41])
    rows = rng.permutation(len(z))[:SEARCHED]
    some = z[rows]
    to_weight = cho_solve(cho_factor(some.T @ some + RIDGE * len(rows) * np.eye(z.shape[1])), some.T)
    hat = some @ to_weight
    found = [annealed(unlabelled(hat, prior[rows], orders), rng) for _ in range(starts)]
    best = max(found, key=lambda one: utility(one.labels, one.told()))
    p = probability(prior + 2 * (z @ (to_weight @ best.target)) / best.error(best.left_out()))
    p[rows] = (1 + best.target) / 2
    return p


ICM = Method(
    name="icm", title="internal coherence from the model's own belief", source=SOURCE, fit=fit, kind="unsupervised"
)
ICM_BLIND = Method(
    name="icm, blind", title="internal coherence alone, its sign by the supervisor", source=SOURCE, fit=fit_blind
)
