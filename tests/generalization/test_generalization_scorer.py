"""The scorer against those who would game it: each attack works on a naive scorer, and fails on ours."""

import dataclasses

import numpy as np
import pytest

from superalign.evidence import FirewallError, Measurement, Signal, SuperalignError, Workspace, holdout
from superalign.generalization import Material, Reading, score
from superalign.generalization.scorer import declare, head_from_bytes, head_to_bytes, right, submit
from superalign.training.heads import LinearHead

FAMILY = "construction/slips/dev"
N, WIDTH = 200, 220


def exam(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, WIDTH)).astype(np.float32)
    truth = x[:, 0] + 0.7 * rng.normal(size=N) > 0
    reading = Reading(first=x, second=np.zeros_like(x), belief=np.full(N, 0.5))
    clusters = np.array([f"c{i % 40}" for i in range(N)])
    return Material(readings={"strong": reading}, truth=truth, clusters=clusters, kinds=np.full(N, ""))


def head(weight, **more):
    return LinearHead(weight=np.asarray(weight, dtype=float), scale=np.ones(WIDTH), **more)


def axis(i=0):
    return np.eye(WIDTH)[i]


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A workspace whose dev hold-out is open, under the ladder."""
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    with Workspace.open(tmp_path / "ws", create=True) as ws:
        signal = "5" * 64
        ws.signal(Signal(name="truth", digest=signal, family=FAMILY, role="dev", kind="labels"))
        ws.node(kind="model", digest="d" * 64, name="strong")
        ws.base("d" * 64, reason="a fixture whose features are read")
        controls = {}
        for name, digit in {"null": "a", "constant": "b", "garbage": "c"}.items():
            ws.node(kind="model", digest=digit * 64, name=name)
            ws.base(digit * 64, reason="a fixture that knows nothing")
            measurement = Measurement(
                name=f"control.{name}",
                title=name,
                value=0.5,
                low=0.45,
                high=0.55,
                level=0.95,
                n=N,
                clusters=40,
                subject=f"control-{name}@{digit * 64}",
                signals=(signal,),
                role="dev",
                tags={"stage": "test"},
            )
            controls[name] = ws.measure(measurement)
        holdout.admit(ws, signal, chance=0.5, baseline=0.6, n=N, controls=controls)
        holdout.open_budget(ws, FAMILY, mechanism="ladder", allowed=500)
        yield ws, signal


def told(lab, heads, name, material=None):
    ws, signal = lab
    heads = heads if isinstance(heads, dict) else {0: heads}
    declare(ws, signal, name, seeds=sorted(heads))
    kept = {seed: head_to_bytes(one) for seed, one in heads.items()}
    return submit(ws, signal, material or exam(), kept, name=name, fitted_to=["d" * 64])


def test_an_honest_submission_hears_its_score(lab):
    material = exam()
    expected = score(material.readings["strong"].x[:, 0], material.truth).mean()
    scored = told(lab, head(axis()), "honest", material)
    assert scored.release.value == pytest.approx(expected)
    assert scored.tried == 1


def flips(material, scorer, count=12):
    """Turn one answer at a time and see whether the score moves: the share of labels that are learned so.

    The attacker is given more than any could have: the exam's own features, more of them than questions, so that a head
    can turn exactly one answer. What does not move the score is guessed, and counted half.
    """
    x = material.readings["strong"].x.astype(float)
    only = np.linalg.pinv(x)
    base = only @ np.where(x[:, 0] > 0, 1.0, -1.0)
    before, learned = scorer(base), []
    for i in range(count):
        turned = base - 2 * (x[i] @ base) * only[:, i]
        after = scorer(turned)
        guess = x[i] @ (turned if after > before else base) > 0
        learned.append(0.5 if after == before else float(guess == material.truth[i]))
    return float(np.mean(learned))


def test_flipping_reads_labels_off_an_exact_scorer_and_none_off_ours(lab):
    material, tries = exam(), iter(range(10_000))

    def exact(weight):
        return score(material.readings["strong"].x @ weight, material.truth).mean()

    def ours(weight):
        return told(lab, head(weight), f"flip {next(tries)}", material).release.value

    assert flips(material, exact) == 1.0
    assert flips(material, ours) == 0.5, "nothing moved: every guess is a coin's"


def test_single_predictions_read_off_a_scorer_of_predictions():
    """Why models and not predictions: with predictions, one flip tells one label for certain."""
    material = exam()
    said = material.readings["strong"].x[:, 0].copy()
    before = score(said, material.truth).mean()
    learned = []
    for i in range(50):
        turned = said.copy()
        turned[i] *= -1
        after = score(turned, material.truth).mean()
        learned.append((turned[i] > 0 if after > before else said[i] > 0) == material.truth[i])
    assert all(learned)


def random_heads(count, seed):
    return [head(np.random.default_rng([seed, i]).normal(size=WIDTH)) for i in range(count)]


def test_picking_the_best_of_many_seeds_gains_nothing(lab):
    """Twenty coin-like heads: the best of them looks better than chance; all of them, declared, do not."""
    material = exam(1)
    heads = random_heads(20, 5)
    alone = [right(_student(h), material.readings["strong"], material.truth).mean() for h in heads]
    assert max(alone) > 0.55
    scored = told(lab, dict(enumerate(heads)), "all twenty", material)
    assert scored.release.value == pytest.approx(np.mean(alone))


def test_a_seed_left_out_is_noticed(lab):
    ws, signal = lab
    declare(ws, signal, "picked", seeds=range(3))
    with pytest.raises(SuperalignError, match="submit each of those"):
        submit(ws, signal, exam(), {2: head_to_bytes(head(axis()))}, name="picked", fitted_to=["d" * 64])
    with pytest.raises(SuperalignError, match="a new name"):
        declare(ws, signal, "picked", seeds=[2])


def test_what_was_never_declared_is_not_scored(lab):
    ws, signal = lab
    with pytest.raises(SuperalignError, match="declared are none"):
        submit(ws, signal, exam(), {0: head_to_bytes(head(axis()))}, name="surprise", fitted_to=["d" * 64])


def test_who_comes_from_nowhere_is_refused(lab):
    ws, signal = lab
    declare(ws, signal, "orphan", seeds=[0])
    with pytest.raises(FirewallError, match="R5"):
        submit(ws, signal, exam(), {0: head_to_bytes(head(axis()))}, name="orphan", fitted_to=[])


def test_every_seed_once(lab):
    ws, signal = lab
    for seeds in ([], [1, 1]):
        with pytest.raises(SuperalignError, match="each once"):
            declare(ws, signal, "odd", seeds=seeds)


def test_further_submissions_hear_the_best_so_far_and_are_counted(lab):
    first = told(lab, head(axis()), "good")
    for i, one in enumerate(random_heads(5, 9)):
        scored = told(lab, one, f"try {i}")
        assert scored.release.value == first.release.value
        assert not scored.release.fresh
    assert scored.tried == 6


def test_the_same_submission_is_charged_once(lab):
    assert told(lab, head(axis()), "again").release == told(lab, head(axis()), "again").release


def _student(one):
    from superalign.generalization import HeadStudent

    return HeadStudent(head=one)


def test_answering_by_order_scores_half():
    """A shortcut: always the first. On an exam with more yes than no it wins where order counts, and never here."""
    material = exam()
    lopsided = np.flatnonzero(material.truth | (np.arange(N) % 3 == 0))
    some = material.take(lopsided)
    always = _student(head(np.zeros(WIDTH), offset=1.0))
    assert score(always.logits(some.readings["strong"]), some.truth).mean() > 0.6
    assert right(always, some.readings["strong"], some.truth).mean() == 0.5


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ({"offset": 0.1}, "answers by their order"),
        ({"centre": np.full(WIDTH, 0.1)}, "answers by their order"),
        ({"weight": np.full(WIDTH, np.nan)}, "NaN"),
        ({"scale": np.zeros(WIDTH)}, "not above 0"),
        ({"weight": np.ones(WIDTH + 1), "scale": np.ones(WIDTH + 1)}, "this exam is read with 220 features"),
    ],
)
def test_heads_that_are_none(broken, says):
    data = head_to_bytes(dataclasses.replace(head(axis()), **broken))
    with pytest.raises(SuperalignError, match=says):
        head_from_bytes(data, features=WIDTH, paired=True)


@pytest.mark.parametrize(("data", "says"), [(b"not a head", "not a head"), (b"x" * (5 << 20), "at most")])
def test_bytes_that_are_no_head(data, says):
    with pytest.raises(SuperalignError, match=says):
        head_from_bytes(data, features=WIDTH, paired=True)


def test_a_head_comes_back_as_it_was():
    one = head(axis(3), centre=np.arange(WIDTH, dtype=float), offset=0.25)
    again = head_from_bytes(head_to_bytes(one), features=WIDTH, paired=False)
    x = np.random.default_rng(0).normal(size=(5, WIDTH))
    assert again.logits(x) == pytest.approx(one.logits(x))
