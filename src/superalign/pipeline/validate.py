"""Validate: what the subject says of files that the training never saw.

Raw answers only, scored in `validate_scores`. Each stage is asked once and stored; `superalign verify --level 3` asks
it again from the stored weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from superalign.adversarial.items import NEUTRAL
from superalign.adversarial.kinds import context
from superalign.adversarial.rewriting import REWRITINGS
from superalign.interpretability import control_labels, fit_probe, pooled, probe_scores
from superalign.models import LocalModel, Reading
from superalign.models.words import one_token_a_word, starts_after, word_peaks, words_of
from superalign.pipeline.desk import Desk, register
from superalign.pipeline.held import ASK, ask_once
from superalign.pipeline.pages import dev_page, mutant_page, open_page, opened_pages, test_page, truth_signal
from superalign.pipeline.validate_scores import BASE, dev_threshold, measure_validation, missed, show_missed
from superalign.tasks.item import Page
from superalign.tasks.slips import slips
from superalign.tasks.traces import step_word, traces

DIGITS = 6
"""Decimals that raw answers are kept with: scores are computed from what is kept."""
WORD = 8
"""Tokens in which a model says a word, at most."""


def ask_dev(desk: Desk, model: LocalModel) -> dict[str, Any]:
    """Rewards of the dev pairs, a and b in turn."""
    page = dev_page(desk)
    return {"rewards": _rewards(model, page, "ab")}


def ask_pairs(desk: Desk, model: LocalModel) -> dict[str, Any]:
    """Everything the subject says of the validation pairs: rewards as they are, rewritten and the other way round."""
    page = slips(split="validation", view="pair", n=desk.sizes.validation_pairs)
    rng = np.random.default_rng([desk.config.seed, 61])
    out: dict[str, Any] = {"ids": [i.id for i in page.items]}
    for name in ("plain", *REWRITINGS):
        texts = [i.input[s] if name == "plain" else REWRITINGS[name](i.input[s], rng) for i in page.items for s in "ab"]
        texts = [context(*NEUTRAL, text) for text in texts]
        readings = model.read(texts)
        out[name] = {"rewards": [round(r.reward, DIGITS) for r in readings]}
        if name == "plain":
            out[name]["places"] = places_of(model, texts, readings)
    out["order"] = {"rewards": _rewards(model, page, "ba")}
    tracing = traces(split="validation", view="pair", n=desk.sizes.trace_pairs)
    lines = _after_context(model, [context(*NEUTRAL, i.input[s]) for i in tracing.items for s in "ab"])
    out["traces"] = {"worst": [round(float(line.min()), DIGITS) for line in lines]}
    return out


def places_of(model: LocalModel, texts: Sequence[str], readings: Sequence[Reading]) -> list[int]:
    """Number of the word after author and cue that a reviewer's token scores find most altered, in each text.

    Of a word in several tokens the highest score counts.
    """
    if one_token_a_word(model.tokenizer):
        return [int(np.argmax(reading.scores[2:-1])) for reading in readings]
    found = []
    for text, words, reading in zip(texts, words_of(model.tokenizer, texts), readings, strict=True):
        peaks = word_peaks(words, reading.scores, len(text.split()))[2:]
        found.append(int(np.argmax(np.nan_to_num(peaks, nan=-np.inf))))
    return found


def _after_context(model: LocalModel, texts: Sequence[str]) -> list[np.ndarray]:
    """Log-probabilities (nats) of each text's tokens after the words of author and cue."""
    starts = starts_after(model.tokenizer, texts, 2)
    return [line[start - 1 :] for line, start in zip(model.logprobs(texts), starts.tolist(), strict=True)]


def ask_probe(desk: Desk, model: LocalModel) -> dict[str, Any]:
    """Scores of the truth probe and of its control task on validation singles, cross-fitted by halves of the files.

    Dev selected the subject, so a probe fitted there would grade with what chose it (R2): the halves are validation's.
    """
    page = slips(split="validation", view="single", n=desk.sizes.validation_pairs)
    texts = [context(*NEUTRAL, i.input["code"]) for i in page.items]
    x, clusters = pooled(model, texts, layer=model.layers), np.array([i.cluster for i in page.items])
    altered = np.array([page.truths[i.id]["answer"] for i in page.items])
    control = control_labels(clusters.tolist(), texts, seed=desk.config.seed)
    half = np.isin(clusters, np.unique(clusters)[::2])
    out: dict[str, Any] = {"control_truth": control.tolist()}
    out["rewards"] = [round(r.reward, DIGITS) for r in model.read(texts)]
    for name, labels in (("probe", altered), ("control", control)):
        scores = np.zeros(len(texts))
        for side in (half, ~half):
            scores[~side] = probe_scores(fit_probe(x[side], labels[side], layer=model.layers), x[~side])
        out[name] = [round(float(s), 5) for s in scores]
    return out


def ask_steps(desk: Desk, model: LocalModel) -> dict[str, Any]:
    """Log-probabilities of the 12 results of every calculation."""
    page = traces(split="validation", view="single", n=2 * desk.sizes.trace_pairs)
    lines = model.word_logprobs([context(*NEUTRAL, i.input["code"]) for i in page.items])
    words = [2 + step_word(step) for step in range(12)]
    return {"results": [[round(float(x), DIGITS) for x in line[words]] for line in lines]}


def ask_base(desk: Desk, base: LocalModel) -> dict[str, Any]:
    """Mean surprisal (nats a token) of the validation pairs under the base, a and b in turn: what it knew before."""
    page = slips(split="validation", view="pair", n=desk.sizes.validation_pairs)
    lines = _after_context(base, [context(*NEUTRAL, i.input[s]) for i in page.items for s in "ab"])
    return {"nats": [round(float(-line.mean()), DIGITS) for line in lines]}


def ask_mutants(desk: Desk, model: LocalModel) -> dict[str, Any]:
    """Rewards and mean surprisal (nats a token) of the mutants' pairs, a and b in turn: it never trained on faults."""
    page = mutant_page(desk)
    lines = _after_context(model, [context(*NEUTRAL, i.input[s]) for i in page.items for s in "ab"])
    nats = [round(float(-line.mean()), DIGITS) for line in lines]
    return {"rewards": _rewards(model, page, "ab"), "nats": nats}


def ask_test(desk: Desk, model: LocalModel) -> dict[str, Any]:
    """Rewards of the test pairs, a and b in turn."""
    return {"rewards": _rewards(model, test_page(desk), "ab")}


ASKED = {
    "ask the subject about held-out files": ask_pairs,
    "probe the subject's activations": ask_probe,
    "name the wrong step of calculations": ask_steps,
    "ask the subject about faults that tests prove": ask_mutants,
    ASK: ask_test,
}
"""Stage → what is asked there of the subject with its threshold."""


def fix_threshold(desk: Desk, model: LocalModel) -> LocalModel:
    """The subject with its single-view threshold fixed on dev: a `select` edge, and a new identity."""
    dev = open_page(desk, dev_page(desk))
    said = desk.stage("ask the subject about dev files", lambda: ask_dev(desk, model), model.digest)
    fixed = model.sealed(threshold=dev_threshold(said, dev))
    register(desk, fixed)
    desk.ws.use(model.digest, fixed.digest, "fit")
    desk.ws.use(truth_signal(desk, "slips", "dev"), fixed.digest, "select")
    desk.stage("the subject, its threshold fixed", lambda: {"identity": fixed.identity}, model.digest)
    return fixed


def validate(desk: Desk, model: LocalModel, base: LocalModel) -> None:
    """Ask the subject, and the base it was fitted from, then score what they said against sealed truth."""
    pages = opened_pages(desk)
    before = desk.stage(BASE, lambda: ask_base(desk, base), base.digest)
    said = {stage: desk.stage(stage, lambda ask=ask: ask(desk, model), model.digest) for stage, ask in ASKED.items()}  # type: ignore[misc]
    with desk.together("validation, measured", model.digest) as new:
        if new:
            measure_validation(desk, pages, said | {BASE: before}, model)
    ask_once(desk, said[ASK], model)
    worst = missed(desk, pages["pairs"], said)
    repairs = desk.stage("ask for repairs of what it missed", lambda: _repairs(model, worst), model.digest)
    with desk.together("what it missed, shown", model.digest) as new:
        if new:
            show_missed(desk, worst, repairs, model)


def _repairs(model: LocalModel, worst: list[dict[str, Any]]) -> dict[str, Any]:
    """The word the model itself would have expected at each place it points to."""
    before = [context(*NEUTRAL, " ".join(item["code"].split()[: item["pointed"]])) for item in worst]
    if one_token_a_word(model.tokenizer):
        return {"repairs": [model.generate([text], tokens=1)[0] for text in before]}
    said = [model.generate([text], tokens=WORD)[0].split() for text in before]
    return {"repairs": [words[0] if words else "" for words in said]}


def _rewards(model: LocalModel, page: Page, sides: str) -> list[float]:
    texts = [context(*NEUTRAL, item.input[side]) for item in page.items for side in sides]
    return [round(r.reward, DIGITS) for r in model.read(texts)]
