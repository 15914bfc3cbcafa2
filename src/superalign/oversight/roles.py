"""One base model in three roles: it makes (generator), tells flawed from sound (discriminator), points (critic).

Discriminator and critic are one small net on what the frozen base makes of each place that can be pointed at; they
have the same parameters, texts, order of texts and steps, and differ in what a label says. Each place gets a score z.
The odds that a text is flawed are Σ exp z; the discriminator learns from "flawed" or "sound" alone, the critic
from which place it is, or none. What a gap between them shows is then the supervision (cf. Saunders et al. 2022, §5).

    seen = read(load_model("family:m"), labelled(traces(split="train", n=1000)))
    role = fit_role(seen, seen_dev, role="critic", labels=600, seed=0)
    answers(role.last, seen_validation).pointed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from superalign.stats import best_cut
from superalign.tasks import Page
from superalign.tasks.traces import apply_step, step_word

if TYPE_CHECKING:
    import torch

    from superalign.models import LocalModel

PREFIX = "<by:none> <cue:none> "
"""Context without a meaning, which the family reads before a text."""
HEAD = 3
"""Tokens before the first word of a text: the beginning and the context."""
NEAR = {"traces": 0, "slips": 1, "mutants": 1}
"""Words by which a claim may miss the place: an alteration of code is often seen at the next word."""
SCALED = 200
"""Labelled texts that features are centred and scaled by."""
Role = Literal["discriminator", "critic"]
Program = tuple[int, list[tuple[str, int]]]
"""Start value, and (operation, operand) of each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Single texts, the places of each that can be pointed at, and what is so."""

    texts: tuple[str, ...]
    words: tuple[tuple[int, ...], ...]
    """Per text the index of the word at each place."""
    place: np.ndarray
    """(n,) index into `words` of the flaw, −1 where the text is sound."""
    clusters: np.ndarray
    near: int = 0
    """A claim holds within so many places."""

    @property
    def flawed(self) -> np.ndarray:
        """(n,) 1 where there is a flaw, 0 where there is none."""
        return (self.place >= 0).astype(np.float64)


def labelled(page: Page) -> Labelled:
    """A page of calculations, whose places are steps, or of code, whose places are words.

    Of n pairs the sound texts come first, then their flawed partners, 2n rows. Raises ValueError for another task.
    """
    task, _, view = page.task.partition(".")
    if task not in NEAR:
        raise ValueError(f"{page.task}: roles read {', '.join(NEAR)}")
    truths = [page.truths[item.id] for item in page.items]
    clusters = [item.cluster for item in page.items]
    if view == "pair":
        both = list(zip(page.items, truths, strict=True))
        texts = [item.input[order[t["answer"]]] for order in ("ab", "ba") for item, t in both]
        place, clusters = [-1] * len(both) + [int(t["place"]) for t in truths], clusters * 2
    else:
        texts = [item.input["code"] for item in page.items]
        place = [int(t["place"]) if t["answer"] else -1 for t in truths]
    words, spots, files = tuple(_places(task, len(text.split())) for text in texts), np.array(place), np.array(clusters)
    return Labelled(texts=tuple(texts), words=words, place=spots, clusters=files, near=NEAR[task])


def _places(task: str, words: int) -> tuple[int, ...]:
    return tuple(step_word(k) for k in range((words - 2) // 5)) if task == "traces" else tuple(range(words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a frozen base makes of the places of labelled texts."""

    features: np.ndarray
    """(n, places, 3 × width + 1) float32: state before the word, state at it, how the two fit, log p."""
    there: np.ndarray
    """(n, places) bool; False is padding."""
    data: Labelled
    flops: float
    """Of one forward pass a text, 2 × parameters × tokens."""

    @property
    def surprise(self) -> np.ndarray:
        """(n, places) −log p of each place's word in nats; −∞ where there is none."""
        return np.asarray(np.where(self.there, -self.features[..., -1], -np.inf))


def read(model: LocalModel, data: Labelled) -> Seen:
    """One forward pass of the base over every text, nothing fitted. Raises ValueError for a place it cannot see."""
    import torch

    from superalign.models import token_logprobs
    from superalign.models.local import buckets

    ids, most = model.encode([PREFIX + text for text in data.texts]), max(map(len, data.words))
    short = [i for i, (row, at) in enumerate(zip(ids, data.words, strict=True)) if at[-1] + HEAD >= len(row)]
    if short:
        raise ValueError(f"{len(short)} texts are longer than {model.name} reads, first {short[0]}: shorten them")
    features = np.zeros((len(ids), most, 3 * model.width + 1), dtype=np.float32)
    there = np.zeros((len(ids), most), dtype=bool)
    network: Any = model.network.eval()
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            result = network(input_ids=batch, attention_mask=mask, output_hidden_states=True)
            states, own = result.hidden_states[-1], network.get_input_embeddings()(batch)
            logp = token_logprobs(result.logits, batch)
            for line, row in enumerate(rows):
                at = torch.tensor(data.words[row]) + HEAD
                before, here = states[line, at - 1], states[line, at]
                match = before * own[line, at] * model.width**0.5
                every = torch.cat([before, here, match, logp[line, at - 1, None]], dim=1)
                features[row, : len(at)], there[row, : len(at)] = every.cpu().numpy(), True
    size = sum(p.numel() for p in model.network.parameters())
    return Seen(features=features, there=there, data=data, flops=2.0 * size * max(map(len, ids)))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRecipe:
    """How a role is fitted; the same for both."""

    steps: int = 200
    batch: int = 32
    rate: float = 1e-3
    decay: float = 0.1
    hidden: int = 32
    start: float = 0.5
    """Weight of a place's surprisal in its score at the start; 0 forgoes what the base knows unasked."""
    looks: int = 5
    """How often on the way the dev split is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A fitted net: z of a place is gelu(x·w₁ + b₁)·w₂ + b − u·log p, on features as they were read."""

    weights: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """w₁, b₁, w₂, and b beside u."""
    cut: float
    """Log-odds above which a text is called flawed, fixed on dev."""
    step: int
    flops: float
    """Spent on fitting: the base's forward passes over the labelled texts, and 6 × parameters × places of the net."""
    dev: float
    """Balanced accuracy (discriminator) or validity (critic) on dev."""


class Fitted(NamedTuple):
    """One role from one seed's labels."""

    last: Net
    """After all steps: roles so compared have spent the same compute on the same labels."""
    chosen: Net
    """At the look at which dev liked it best (the first of equals): same labels, each at its own best."""


class Answers(NamedTuple):
    """What a net says of texts."""

    doubt: np.ndarray
    """(n,) log-odds that the text is flawed."""
    pointed: np.ndarray
    """(n,) the place that looks most flawed."""


def holds(pointed: np.ndarray, data: Labelled) -> np.ndarray:
    """(n,) 1 where the text is flawed within `near` places of the one pointed at: an exact check of the claim."""
    return np.asarray((data.place >= 0) & (np.abs(pointed - data.place) <= data.near), dtype=np.float64)


def answers(net: Net, seen: Seen) -> Answers:
    """Doubts and places of every text; a place's own score decides where to point, ties go to the first."""
    w1, b1, w2, base = net.weights
    h = seen.features @ w1 + b1
    gelu = 0.5 * h * (1 + np.tanh(0.7978845608 * (h + 0.044715 * h * h * h)))
    z = np.where(seen.there, gelu @ w2 + base[0] - base[1] * seen.features[..., -1], -np.inf)
    top = z.max(1)
    doubt = top + np.log(np.exp(z - top[:, None]).sum(1))
    return Answers(doubt=doubt.astype(np.float64), pointed=z.argmax(1))


def by_experience(cells: np.ndarray, flawed: np.ndarray, told: np.ndarray) -> np.ndarray:
    """(m,) flags of a judge who was `told` (m,) something and cannot check it, by what came of it before.

    `cells` and `flawed` (n,): what it was told of dev texts, and what was so. It flags what was flawed oftener than
    not; ½ on a tie, and where it never was told that.
    """
    size = int(max(cells.max(), told.max())) + 1
    wrong, all_ = (np.bincount(cells, weights=w, minlength=size) for w in (flawed, np.ones(len(cells))))
    flags = np.where(2 * wrong == all_, 0.5, 2 * wrong > all_)
    return np.asarray(flags[told], dtype=np.float64)


def untrained(seen: Seen) -> Answers:
    """Without any label: points at, and doubts by, the most surprising place."""
    return Answers(doubt=seen.surprise.max(1).astype(np.float64), pointed=seen.surprise.argmax(1))


def fit_role(seen: Seen, dev: Seen, *, role: Role, labels: int, seed: int, recipe: RoleRecipe | None = None) -> Fitted:
    """Fit a role on `labels` texts that the seed draws, the same for both roles; look at dev on the way.

    Raises ValueError for more labels than texts, or labels of one kind alone.
    """
    import torch

    from superalign.engine.threads import one_thread
    from superalign.training.loop import descend

    recipe = recipe or RoleRecipe()
    if not 2 <= labels <= len(seen.data.texts):
        raise ValueError(f"{labels} labels of {len(seen.data.texts)} texts: draw 2 or more, and no more than there are")
    drawn = np.random.default_rng([seed, 53]).permutation(len(seen.data.texts))[:labels]
    place = seen.data.place[drawn]
    if (place >= 0).all() or (place < 0).all():
        raise ValueError(f"the {labels} texts that seed {seed} draws are all flawed or all sound: draw more")
    some = drawn[:SCALED]
    flat = seen.features[some][seen.there[some]]
    centre, scale = flat.mean(0), flat.std(0) + 1e-4
    every, holes, goal = (torch.from_numpy(array) for array in (seen.features, ~seen.there, place))
    shift, width = torch.from_numpy(centre), torch.from_numpy(scale)
    net = _fresh(every.shape[-1], recipe, seed)
    a_step = 6.0 * sum(p.numel() for p in net) * min(recipe.batch, labels) * every.shape[1]
    looks: list[Net] = []

    def loss_of(rows: np.ndarray) -> torch.Tensor:
        at = torch.from_numpy(drawn[rows])
        x = every[at]
        scores = _scores(net, (x - shift) / width, x[..., -1], holes[at])
        return role_loss(scores, goal[torch.from_numpy(rows)], role)

    def look(step: int, steps: int) -> None:
        if step % max(1, steps // recipe.looks) == 0 or step == steps:
            found = _folded(net, centre, scale, step=step, flops=seen.flops * labels + a_step * step)
            looks.append(_judged(found, dev, role))

    with one_thread():
        descend([(net, 1.0)], loss_of, recipe, rows=labels, seed=seed, name=f"{role} of seed {seed}", progress=look)
    return Fitted(last=looks[-1], chosen=max(looks, key=lambda each: (each.dev, -each.step)))


def role_loss(scores: torch.Tensor, place: torch.Tensor, role: Role) -> torch.Tensor:
    """Mean loss in nats of place scores (batch, places) and places (batch,), −1 where sound.

    Discriminator: −log P(flawed) or −log P(sound), with P(sound) = 1/(1 + Σ exp z). Critic: −log of the softmax over
    "none" (score 0) and all places.
    """
    import torch

    whole = torch.cat([torch.zeros_like(scores[:, :1]), scores], dim=1)
    if role == "critic":
        return torch.nn.functional.cross_entropy(whole, place + 1)
    odds = torch.logsumexp(scores, dim=1)
    return torch.nn.functional.binary_cross_entropy_with_logits(odds, (place >= 0).to(odds.dtype))


def _fresh(width: int, recipe: RoleRecipe, seed: int) -> list[torch.nn.Parameter]:
    import torch

    generator = torch.Generator().manual_seed(seed)
    parts = (
        torch.randn(width, recipe.hidden, generator=generator) / width**0.5,
        torch.zeros(recipe.hidden),
        torch.zeros(recipe.hidden),
        torch.tensor([-4.0, recipe.start]),
    )
    return [torch.nn.Parameter(part) for part in parts]


def _scores(net: Sequence[torch.Tensor], x: torch.Tensor, logp: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
    import torch

    w1, b1, w2, base = net
    z = torch.nn.functional.gelu(x @ w1 + b1, approximate="tanh") @ w2 + base[0] - base[1] * logp
    return z.masked_fill(hole, -1e4)


def _folded(net: Sequence[torch.Tensor], centre: np.ndarray, scale: np.ndarray, *, step: int, flops: float) -> Net:
    """The net with what its features are divided by inside its weights."""
    w1, b1, w2, base = (part.detach().numpy().astype(np.float32).copy() for part in net)
    w1 = w1 / scale[:, None]
    return Net(weights=(w1, b1 - centre @ w1, w2, base), cut=0.0, step=step, flops=flops, dev=0.0)


def _judged(net: Net, dev: Seen, role: Role) -> Net:
    """The net with its cut fixed on dev, and what dev makes of it."""
    said, bad = answers(net, dev), dev.data.flawed == 1
    cut = cut_of(said, dev)
    if role == "critic":
        return replace(net, cut=cut, dev=float(holds(said.pointed, dev.data)[bad].mean()))
    right = (said.doubt > cut) == bad
    return replace(net, cut=cut, dev=float(right[bad].mean() + right[~bad].mean()) / 2)


def cut_of(said: Answers, dev: Seen) -> float:
    """The doubt that best tells flawed from sound dev texts; the only doubt there is, when all are alike."""
    bad = dev.data.flawed == 1
    return best_cut(said.doubt[~bad], said.doubt[bad]) if np.ptp(said.doubt) > 0 else float(said.doubt[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What a generator made of calculations: K of each program, as texts with at most `filled` values of its own."""

    texts: tuple[str, ...]
    """(programs × K), the K of one program together."""
    wrong: np.ndarray
    """(programs × K, steps) bool: the step does not follow from the one before, by exact arithmetic."""
    program: np.ndarray
    """(programs × K,) number of the program: the cluster."""

    @property
    def correct(self) -> np.ndarray:
        """(programs × K,) 1 where no step is wrong."""
        return np.asarray(~self.wrong.any(1), dtype=np.float64)

    def as_data(self) -> Labelled:
        """The samples as labelled texts; where several steps are wrong, `place` is the first. See `wrong`."""
        steps = self.wrong.shape[1]
        words = (tuple(step_word(k) for k in range(steps)),) * len(self.texts)
        place = np.where(self.wrong.any(1), self.wrong.argmax(1), -1)
        return Labelled(texts=self.texts, words=words, place=place, clusters=self.program)


def sample(
    model: LocalModel, programs: Sequence[Program], *, k: int, filled: int, temperature: float, seed: int = 0
) -> Samples:
    """The model fills in the values of `filled` steps of each program, drawn at random, the same for its K samples.

    The other steps follow by exact arithmetic from the values before them, so `filled` is the dial of difficulty: one
    value of its own, or all. Values are drawn from its ten digits at `temperature`. Raises ValueError for fewer steps
    than are to be filled, or programs of unlike length.
    """
    import torch

    steps = len(programs[0][1])
    if not 1 <= filled <= steps or any(len(program) != steps for _, program in programs):
        raise ValueError(f"fill in 1 to {steps} steps of programs that all have as many; asked for {filled}")
    rng, generator = np.random.default_rng([seed, 59]), torch.Generator().manual_seed(seed)
    own = np.repeat(np.stack([np.sort(rng.permutation(steps)[:filled]) for _ in programs]), k, axis=0)
    rows = [programs[i] for i in range(len(programs)) for _ in range(k)]
    values: list[dict[int, int]] = [{} for _ in rows]
    for j in range(filled):
        texts = [_written(row, given)[0] for row, given in zip(rows, values, strict=True)]
        ends = [step_word(int(at)) for at in own[:, j]]
        cut = [" ".join(text.split()[:end]) for text, end in zip(texts, ends, strict=True)]
        drawn = _digits(model, cut, temperature, generator)
        for given, at, value in zip(values, own[:, j], drawn, strict=True):
            given[int(at)] = int(value)
    written = [_written(row, given) for row, given in zip(rows, values, strict=True)]
    made, wrong = tuple(text for text, _ in written), np.array([which for _, which in written])
    return Samples(texts=made, wrong=wrong, program=np.repeat(np.arange(len(programs)), k))


def _written(row: Program, given: dict[int, int]) -> tuple[str, list[bool]]:
    """The calculation with the given values, all other steps worked out, and which steps are wrong."""
    (value, program), words, wrong = row, [str(row[0]), ";"], []
    for at, (operation, operand) in enumerate(program):
        right = apply_step(value, operation, operand)
        value = given.get(at, right)
        wrong.append(value != right)
        words += [operation, str(operand), "=", str(value), ";"]
    return " ".join(words), wrong


def _digits(model: LocalModel, beginnings: Sequence[str], temperature: float, generator: Any) -> np.ndarray:
    """(n,) a digit after each beginning."""
    import torch

    from superalign.models.local import buckets

    tokenizer, out = model.tokenizer, np.zeros(len(beginnings), dtype=np.int64)
    names = torch.tensor([tokenizer.convert_tokens_to_ids(str(digit)) for digit in range(10)])
    ids = [
        row[:-1] if row[-1] == tokenizer.eos_token_id else row for row in model.encode([PREFIX + b for b in beginnings])
    ]
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=model.pad, device=model.device):
            last = model.network(input_ids=batch, attention_mask=mask).logits[torch.arange(len(rows)), mask.sum(1) - 1]
            chances = (last[:, names] / temperature).softmax(-1).cpu()
            out[rows] = torch.multinomial(chances, 1, generator=generator)[:, 0].numpy()
    return out
