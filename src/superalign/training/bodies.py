"""Students that change the network: full fine-tuning or LoRA of any local model under a scalar head.

    body = fit_body(load_model("family:m"), (texts,), labels)                      # is the answer yes?
    body = fit_body(load_model("hf:/models/tiny"), (first, second), labels)        # which of the two? a reward model
    body.logits((exam_first, exam_second))                                         # log-odds of yes, or of the first

One text is classified by logistic loss; of two the difference of scores is fitted (Bradley–Terry), so that swapping
them swaps the answer. Labels may be soft. The loss is cross-entropy, or the confidence loss of Burns et al. (2023,
2312.09390, §4.3.1 and A.4).

Everything is float32, also of a base that was loaded narrower, on the base's device, and decided by the seed; dropout
is off unless asked for, as in their released code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from superalign.models import LocalModel, weights_digest
from superalign.models.local import buckets
from superalign.training.bodies_head import BodyHead, Pool, from_probe, from_unembedding, pooled
from superalign.training.bodies_peft import opened, widely
from superalign.training.bodies_recipe import BodyRecipe, cut, kept, planned
from superalign.training.fused import fused
from superalign.training.heads import fit_head
from superalign.training.loop import Progress, descend_parts
from superalign.training.reviewer import padded

WARMUP = 0.2
"""Share of training in which the confidence loss comes in."""
Texts = Sequence[Sequence[str]]
"""(texts,), or (first texts, second texts) of pairs, as in `Questions.texts`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A fine-tuned network with its head; the network alone is an ordinary model."""

    model: LocalModel
    head: BodyHead
    pool: Pool
    paired: bool
    digest: str
    """Over all weights, head included."""

    def logits(self, texts: Texts) -> np.ndarray:
        """(n,) log-odds of yes, or that the first text of each pair is the right one, float64.

        Raises ValueError where texts are paired and the body was not fitted on pairs, or the other way round.
        """
        sides = _sides(texts)
        if (sides == 2) != self.paired:
            wanted = "pairs, (first, second)" if self.paired else "single texts, (texts,)"
            raise ValueError(f"{self.model.name} was fitted on {wanted}, and is asked about {sides} texts a question")
        ids = _encoded(self.model, texts, self.pool)
        if not ids:
            return np.zeros(0)
        with torch.inference_mode():
            read = _features(self.model, ids, self.pool).to(self.model.device)
            scores = self.head(read).double().cpu().numpy().reshape(sides, -1)
        return np.asarray(scores[0] - scores[1] if self.paired else scores[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lesson:
    """What is fitted to what; rows are numbers of questions."""

    network: nn.Module
    head: BodyHead
    ids: list[list[int]]
    """Of all first texts, then of all second ones."""
    goals: torch.Tensor
    recipe: BodyRecipe
    steps: int
    pad: int

    @property
    def paired(self) -> bool:
        return len(self.ids) > len(self.goals)

    def logits(self, rows: np.ndarray) -> torch.Tensor:
        n = len(self.goals)
        batch = [self.ids[i] for i in rows] + ([self.ids[n + i] for i in rows] if self.paired else [])
        ids, mask = padded(batch, pad=self.pad, device=self.goals.device)
        scores: torch.Tensor = self.head(pooled(self.network, ids, mask, self.recipe.pool))
        return scores[: len(rows)] - scores[len(rows) :] if self.paired else scores

    def parts(self, chosen: np.ndarray, step: int) -> Iterator[torch.Tensor]:
        """The batch's mean loss, in as many parts as the tokens of a forward pass allow: one graph at a time."""
        sides = np.array([len(row) for row in self.ids]).reshape(1 + self.paired, -1).max(axis=0)
        groups = cut(chosen, sides, self.recipe.tokens // (1 + self.paired))
        threshold = None
        if self.recipe.confidence and len(groups) > 1:
            with torch.no_grad():  # the threshold is the whole batch's
                threshold = torch.cat([self.logits(rows) for rows in groups]).median()
        for rows in groups:
            logits, goal = self.logits(rows), self.goals[torch.from_numpy(rows).to(self.goals.device)]
            if self.recipe.confidence:
                goal = confident(goal, logits.detach(), step / self.steps, self.recipe.confidence, threshold)
            yield nn.functional.binary_cross_entropy_with_logits(logits, goal, reduction="sum") / len(chosen)


def confident(
    labels: torch.Tensor, logits: torch.Tensor, done: float, top: float, threshold: torch.Tensor | None = None
) -> torch.Tensor:
    """Targets of the confidence loss, (batch,): (1 − a)·labels + a·1[logits > threshold], by default their median.

    a rises linearly from 0 to `top` while the share `done` of training goes from 0 to `WARMUP`.
    """
    a = top * min(1.0, done / WARMUP)
    return (1 - a) * labels + a * (logits > (logits.median() if threshold is None else threshold)).to(labels.dtype)


def fit_body(
    base: LocalModel,
    texts: Texts,
    labels: np.ndarray,
    *,
    name: str = "body",
    recipe: BodyRecipe | None = None,
    seed: int = 0,
    resume: Path | None = None,
    progress: Progress | None = None,
) -> Body:
    """Fine-tune a copy of `base` on P(yes), or P(first is right), (n,) in [0, 1]; `base` is unchanged.

    `resume` is a file for the state: a run that was killed goes on from there to the same weights. Raises ValueError
    for no texts, other lengths, labels that are no probabilities, a text without tokens, a loss that stops being finite
    (with the step), or a state of another run.
    """
    recipe = recipe or BodyRecipe()
    sides, goals = _sides(texts), np.asarray(labels, dtype=np.float32)
    if len(goals) == 0 or goals.shape != (len(texts[0]),) or not ((goals >= 0) & (goals <= 1)).all():
        raise ValueError(f"{name}: {len(texts[0])} texts and labels of shape {goals.shape}: one each, from 0 to 1")
    ids, plan = _encoded(base, texts, recipe.pool), planned(recipe, len(goals))
    network = widely(base)
    lesson = _Lesson(
        network=network,
        head=_begun(base, ids, goals, recipe).to(base.device),
        ids=ids,
        goals=torch.from_numpy(goals).to(base.device),
        recipe=recipe,
        steps=plan.steps,
        pad=base.pad,
    )
    tuning = opened(network, rank=recipe.rank, alpha=recipe.alpha, seed=seed)
    groups = [(tuning.parameters, 1.0), (list(lesson.head.parameters()), recipe.head_factor)]
    state = kept(resume, base, recipe, seed, [list(side) for side in texts], goals.tolist())
    torch.manual_seed(seed)
    with fused(network.train(recipe.dropout)):
        descend_parts(groups, lesson.parts, plan, rows=len(goals), seed=seed, name=name, progress=progress, kept=state)
    model = LocalModel(
        name=name, network=tuning.close().eval(), tokenizer=base.tokenizer, organism=base.organism
    ).sealed()
    head = lesson.head.eval()
    digest = weights_digest(model.network, head, 0.0)
    return Body(model=model, head=head, pool=recipe.pool, paired=sides == 2, digest=digest)


def _sides(texts: Texts) -> int:
    """1 for single texts, 2 for pairs."""
    if len(texts) not in (1, 2) or any(isinstance(side, str) for side in texts):
        raise ValueError("texts come as (texts,), or as (first, second) for pairs: one or two sequences of texts")
    if len(set(map(len, texts))) > 1:
        raise ValueError(f"{len(texts[0])} first texts and {len(texts[1])} second ones: a pair has one of each")
    return len(texts)


def _encoded(model: LocalModel, texts: Texts, pool: Pool) -> list[list[int]]:
    """Token ids of all first texts, then of all second ones."""
    ids, least = model.encode([text for side in texts for text in side]), 2 if pool == "wide" else 1
    for i, row in enumerate(ids):
        if len(row) < least:
            side, at = divmod(i, len(texts[0]))
            raise ValueError(f"text {at} ({texts[side][at]!r}) has {len(row)} tokens, {least} are needed: leave it out")
    return ids


def _features(model: LocalModel, ids: Sequence[Sequence[int]], pool: Pool) -> torch.Tensor:
    """(texts, features) of a network that is not trained just now."""
    model.network.eval()
    out: list[torch.Tensor] = [torch.empty(0)] * len(ids)
    with torch.inference_mode(), fused(model.network):
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            for row, values in zip(rows, pooled(model.network, batch, mask, pool), strict=True):
                out[row] = values.float().cpu()
    return torch.stack(out)


def _begun(base: LocalModel, ids: list[list[int]], goals: np.ndarray, recipe: BodyRecipe) -> BodyHead:
    """The head before training."""
    paired = len(ids) > len(goals)
    head = BodyHead(base.width * (4 if recipe.pool == "wide" else 1), offset=not paired)
    if recipe.start == "unembedding":
        if recipe.pool != "last":
            raise ValueError(f'the start "unembedding" reads the last token, and the pool is "{recipe.pool}"')
        from_unembedding(head, base, recipe.words)
    if recipe.start == "probe":
        found = _features(base, ids, recipe.pool).numpy()
        x = found[: len(goals)] - found[len(goals) :] if paired else found
        from_probe(head, fit_head(x, goals, l2=recipe.l2, symmetric=paired))
    return head
