"""A chat model of 0.1 M parameters to try every protocol with: no download, no key, a minute on one core.

    python examples/tiny_chat_model.py talker
    superalign oversight --judge words:hf:talker --advisers words:hf:talker --tasks traces --preset quick

It has learnt the *forms* in which judges, debaters and critics answer, and nothing about what is asked: its verdicts
are coins. So it shows that prompts, parsing, counting and resuming work, and its scores show what scores of a coin look
like. It is short-sighted: each of its two layers attends to 96 tokens, so that only the end of a prompt reaches it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from superalign.models import Ask, LocalModel, Reply, Token, save_model
from superalign.models.chatting import prompt_of
from superalign.oversight import PROTOCOLS, case_of, play
from superalign.oversight.judges.spoken import SpokenJudge
from superalign.oversight.spoken import seats_in_words
from superalign.tasks import slips, traces

STEPS, BATCH, RATE = 200, 16, 4e-3
SIGHT = 96
"""Tokens that a layer attends to."""
TEMPLATE = "{% for turn in messages %}{{ turn.role }}: {{ turn.content }}\n\n{% endfor %}assistant: "
SPOKEN = ("debate", "consultancy", "open consultancy", "critique of critique", "deference")
WORDS = (
    "The place that I quote speaks for it.",
    "Look at what stands there.",
    "I see no error in it.",
    "Compare both.",
)


@dataclass
class Scribe:
    """Answers by the form that is asked for, values drawn at random, and notes down what it was asked."""

    rng: np.random.Generator
    identity: str = "scribe"
    lesson: list[tuple[Ask, str]] = field(default_factory=list)

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        """One answer in form each."""
        return [self._one(ask) for ask in asks]

    def _one(self, ask: Ask) -> Reply:
        said = json.dumps(self._object(json.loads(ask.schema))) if ask.schema else "AB"[self.rng.integers(2)]
        self.lesson.append((ask, said))
        return Reply(kind="answer", text=said, tokens=(Token(said[0], -0.7, ((said[0], -0.7),)),))

    def _object(self, form: dict[str, Any]) -> dict[str, Any]:
        return {name: self._value(name) for name in form["properties"]}

    def _value(self, name: str) -> Any:
        sure = [0.25, 0.75][self.rng.integers(2)]
        place = int(self.rng.integers(1, 3))
        return {
            "quotes": [place],
            "charges": [{"option": "AB"[self.rng.integers(2)], "place": place}],
            "belief": {"A": sure, "B": round(1 - sure, 2)},
            "argument": WORDS[self.rng.integers(len(WORDS))],
        }[name]


def lesson(seed: int = 0) -> list[tuple[Ask, str]]:
    """Prompts as they come up in play on training items, and answers of the right form."""
    scribe = Scribe(np.random.default_rng(seed))
    for page in (traces(split="train", view="pair", n=12), slips(split="train", view="pair", n=12)):
        for name in SPOKEN:
            seats = seats_in_words(PROTOCOLS[name], scribe)
            players = {**seats, "judge": SpokenJudge(speaker=scribe), "referee": _Never()}
            list(play(PROTOCOLS[name], [case_of(item) for item in page.items], players))
    others = [(replace(ask, schema=inspects(ask.schema)), said) for ask, said in scribe.lesson if ask.schema]
    return [*scribe.lesson, *others]


def inspects(schema: str) -> str:
    """A schema as Inspect passes it on: sorted, without what it has no place for."""

    def thinned(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        return {name: thinned(value) for name, value in part.items() if name not in ("maxItems", "uniqueItems")}

    return json.dumps(thinned(json.loads(schema)), sort_keys=True)


class _Never:
    """A referee who finds nothing: what it says is no part of the lesson."""

    def holds(self, case: Any, charge: Any) -> bool:
        return False


def tokenizer_of(texts: Sequence[str]) -> Any:
    """A byte-level BPE of some 500 pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<pad>", "<bos>", "<eos>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, show_progress=False, initial_alphabet=alphabet
    )
    core.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")
    made.chat_template = TEMPLATE
    return made


def trained(seed: int = 0, *, steps: int = STEPS) -> LocalModel:
    """The model, from scratch: every form of answer equally often."""
    from transformers import MistralConfig, MistralForCausalLM

    told = lesson(seed)
    ends = [ask.messages[-1].content[-200:] + ask.schema for ask, _ in told]
    plain = tokenizer_of([*ends, *(said for _, said in told)])
    by_form: dict[str, list[tuple[list[int], list[int]]]] = defaultdict(list)
    for ask, said in told:
        answer = [*plain(said, add_special_tokens=False)["input_ids"], plain.eos_token_id]
        by_form[ask.schema and repr(list(json.loads(ask.schema)["properties"]))].append(
            (list(prompt_of(plain, ask, who="tiny").ids[-2 * SIGHT :]), answer)
        )
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=len(plain), max_position_embeddings=4096, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        pad_token_id=0, sliding_window=SIGHT,
    )  # fmt: skip
    network, rng = MistralForCausalLM(config).train(), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE)
    forms = list(by_form.values())
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * min(1.0, (step + 1) / 20, (steps - step) / 60)
        rows = [forms[k][rng.integers(len(forms[k]))] for k in rng.integers(len(forms), size=BATCH)]
        width = max(len(ids) + len(answer) for ids, answer in rows)
        given, labels = torch.zeros(BATCH, width, dtype=torch.long), torch.full((BATCH, width), -100)
        for row, (ids, answer) in enumerate(rows):
            given[row, : len(ids) + len(answer)] = torch.tensor([*ids, *answer])
            labels[row, len(ids) : len(ids) + len(answer)] = torch.tensor(answer)
        loss = network(input_ids=given, attention_mask=(given > 0).long(), labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step}: {loss.item():.3f} nats a token", file=sys.stderr)
    return LocalModel(name="tiny-chat", network=network.eval(), tokenizer=plain).sealed()


def main(folder: str) -> None:
    """Train it and save it in the Hugging Face format."""
    torch.set_num_threads(1)
    save_model(trained(), Path(folder))
    print(f"saved: use it as hf:{folder}, or in words as words:hf:{folder}")


if __name__ == "__main__":
    main(*sys.argv[1:])
