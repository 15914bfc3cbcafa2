"""A probe finds what is there, and its control task finds nothing."""

import numpy as np

from superalign.interpretability import control_labels, fit_probe, probe_scores


def test_probe_reads_a_planted_direction_and_not_noise():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    x = rng.normal(size=(600, 20))
    x[:, 3] += 2 * labels
    fitted = fit_probe(x[:300], labels[:300], layer=1)
    right = ((probe_scores(fitted, x[300:]) > 0) == labels[300:]).mean()
    assert right > 0.75
    noise = fit_probe(x[:300], rng.integers(0, 2, 300), layer=1)
    assert 0.35 < ((probe_scores(noise, x[300:]) > 0) == labels[300:]).mean() < 0.65


def test_control_labels_are_a_function_of_the_opening():
    texts = ["<a> <b> x y z one", "<a> <b> x y z two", "<a> <b> p q r one"]
    found = control_labels(["c"] * 3, texts, seed=0)
    assert found[0] == found[1]
    assert set(found) <= {0, 1}
