"""Simulation by a language model whose prompt log-probabilities can be read: one forward pass for a whole window.

    simulate(judge, "fires on `return`", ["def", "f", "(", ")", "return"])      # (tokens,) from 0 to 10
    surprisal(judge, text, active, quiet)                                        # does the text help to read them?

All at once (Bills et al. 2023): every token's activation reads "unknown" in the prompt; at each of them the model's
probabilities of the numbers 0 to 10 are renormalised, and their mean is the simulated activation. Exact: the whole
distribution is read, not the fifteen best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from superalign.interpretability.prompt_files import Prompt, load_prompt
from superalign.models import LocalModel
from superalign.stats import Interval, mean_interval


def simulate(model: LocalModel, explanation: str, tokens: Sequence[str], *, prompt: Prompt | None = None) -> np.ndarray:
    """(tokens,) simulated activations. ValueError for a prompt beyond the context, or a tokenizer without numbers."""
    prompt = prompt or load_prompt("simulate")
    numbers, values = numbers_of(model)
    ids, places = _laid(model, prompt, explanation, tokens)
    if len(ids) > model.context:
        raise ValueError(
            f"{len(tokens)} tokens make a prompt of {len(ids)}, {model.name} reads {model.context}: show fewer"
        )
    if not places:
        return np.zeros(0, dtype=np.float32)
    model.network.eval()
    with torch.inference_mode():
        logits = model.network(input_ids=torch.tensor([ids], device=model.device)).logits[0].float().cpu()
    chosen = torch.softmax(logits[[place - 1 for place in places]][:, numbers], dim=-1)
    found: np.ndarray = (chosen @ torch.tensor(values)).numpy()
    return found


def numbers_of(model: LocalModel) -> tuple[list[int], list[float]]:
    """(ids, values) of the numbers 0 to 10 that are one token each. Raises ValueError unless 0 to 9 are."""
    found = [(ids[0], float(n)) for n in range(11) if len(ids := _ids(model, str(n))) == 1]
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    kept = [(token, value) for token, value in found if token != unknown]
    if {value for _, value in kept} < {float(n) for n in range(10)}:
        raise ValueError(f"{model.name}: its tokenizer has no token of its own for some of 0 to 9: it can't simulate")
    return [token for token, _ in kept], [value for _, value in kept]


def _laid(model: LocalModel, prompt: Prompt, explanation: str, tokens: Sequence[str]) -> tuple[list[int], list[int]]:
    """(the prompt's ids, the place of each "unknown"): pieces are encoded alone, so that places are known."""
    start = getattr(model.tokenizer, "bos_token_id", None)
    ids = [int(start)] if start is not None else []
    ids += _ids(model, prompt.fill("head", explanation=explanation) + "\n")
    middle, hidden, end = _ids(model, prompt.parts["before"]), _ids(model, prompt.parts["hidden"]), _ids(model, "\n")
    places = []
    for token in tokens:
        ids += [*_ids(model, token), *middle]
        places.append(len(ids))
        ids += [*hidden, *end]
    if places and places[0] == 0:
        raise ValueError(f"{model.name}: nothing stands before the first number: use a prompt with a head")
    return ids, places


def _ids(model: LocalModel, text: str) -> list[int]:
    return [int(i) for i in model.tokenizer(text, add_special_tokens=False)["input_ids"]] if text else []


def surprisal(
    model: LocalModel,
    explanation: str,
    active: Sequence[str],
    quiet: Sequence[str],
    *,
    clusters: Sequence[object] | None = None,
    other: str = "",
) -> Interval:
    """How much more an explanation lowers the loss, nats a token, on active windows than on quiet ones, pair by pair.

    Each window is read after the explanation and after `other`, a control as long as it, or nothing. Windows come in
    pairs, active and quiet; `clusters` are the pairs' documents. Raises ValueError for unlike numbers of them.
    """
    if len(active) != len(quiet):
        raise ValueError(f"{len(active)} active windows, {len(quiet)} quiet ones: bring them in pairs")
    gains = [_loss(model, other, texts) - _loss(model, explanation, texts) for texts in (list(active), list(quiet))]
    return mean_interval(gains[0] - gains[1], clusters=clusters)


def _loss(model: LocalModel, head: str, texts: list[str]) -> np.ndarray:
    """(texts,) nats a token of each text after a head."""
    prefix = f"{head} " if head else ""
    found = model.logprobs([prefix + text for text in texts])
    alone = [max(1, len(_ids(model, text))) for text in texts]
    sealed = bool(model.encode(["x"])[0][-1:] == [getattr(model.tokenizer, "eos_token_id", None)])
    kept = [line[:-1] if sealed else line for line in found]
    return np.array([-float(line[-n:].mean()) if len(line) else np.nan for line, n in zip(kept, alone, strict=True)])
