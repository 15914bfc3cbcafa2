"""A chat model that is trained in seconds to answer what a leaderboard asks, for `oversight_served.py`.

    train(folder, config)          # a folder in the Hugging Face format, served as hf:FOLDER

A Mistral of some 60 thousand weights whose attention reaches 64 tokens, fitted to requests as boards make them and to
answers of the form of each. Answers can be read, beliefs are worth nothing.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from superalign.models.serving import ask_of
from superalign.models.speaker import Ask
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_scores import chosen_protocols, page_of

WINDOW, TAIL, STEPS, ROWS, TRIES = 64, 112, 200, 12, 5


def body_of(ask: Ask, model: str = "m") -> dict[str, Any]:
    """A request of the chat-completions protocol."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in ask.messages],
        "max_tokens": ask.tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
    }
    if ask.alternatives:
        body |= {"logprobs": True, "top_logprobs": ask.alternatives}
    if ask.schema:
        fits = {"name": "answer", "schema": json.loads(ask.schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": fits}
    return body


def examples(config: OversightConfig, rng: random.Random) -> list[tuple[Ask, str]]:
    """Requests as boards make them, and an answer of the form of each."""
    from superalign.oversight import case_of, play
    from superalign.pipeline.spoken import Voice, Voices, _files, judge_in_words, label_of, seats_in_words
    from superalign.pipeline.spoken_pretend import Free, Pretending

    chosen = chosen_protocols(settled(config))
    seats = [label_of(config, protocol, seat) for protocol in chosen.values() for seat in protocol.seats]
    pretending = Pretending("pretending", long=False)
    voice = Voice(address="", speaker=pretending, form="reply", price=None)
    voices = Voices(judge=voice, advisers=voice, files=_files([config.judge_prompt, *seats]))
    cases = [case_of(item) for item in page_of("traces", "train", BoardSizes(lesson=16)).items]
    for protocol in chosen.values():
        players: dict[str, Any] = {"judge": judge_in_words(config, voices, pretending), "referee": Free()}
        for _ in play(protocol, cases, players | seats_in_words(protocol, config, voices, pretending)):
            pass
    asked = [ask_of(body_of(ask)) for ask in pretending.asked.values()]  # as the server reads them
    return [(ask, _answer(ask, rng)) for ask in asked]


def _answer(ask: Ask, rng: random.Random) -> str:
    if not ask.schema:
        return rng.choice("AB")
    place = rng.randint(1, 5)
    known = {
        "quotes": [place],
        "charges": [],
        "belief": {"A": 0.6, "B": 0.4},
        "argument": f"Look at place {place}.",
    }
    return json.dumps({name: known[name] for name in json.loads(ask.schema)["required"]})


def train(folder: Path, board: OversightConfig) -> None:
    """Train the chat model until nine in ten of its answers, of each kind, have the form asked for, and save it.

    Tokenizers are trained in threads, and come out otherwise now and then: so it takes another seed where that fails.
    """
    for seed in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if fitted(folder, board, seed) >= 0.9:
            return
    raise SystemExit(f"none of {TRIES} seeds gave a model whose answers can be read")


def readable(folder: Path, told: list[tuple[Ask, str]]) -> float:
    """Share of answers with the fields that are asked for, of the kind of request of which it is least."""
    from superalign.models.speakers import speaker_at

    speaker, shares = speaker_at(f"hf:{folder}"), []
    for some in by_shape(told).values():
        replies = speaker.ask([ask for ask, _ in some[:16]])
        good = [_shape(reply.text) == _shape(answer) for reply, (_, answer) in zip(replies, some, strict=False)]
        shares.append(sum(good) / len(good))
    return min(shares)


def by_shape(told: list[tuple[Ask, str]]) -> dict[str, list[Any]]:
    """Requests by what an answer has to hold."""
    found: dict[str, list[Any]] = {}
    for each in told:
        found.setdefault(str(_shape(each[1])), []).append(each)
    return found


def _shape(text: str) -> Any:
    try:
        return sorted(json.loads(text))
    except ValueError:
        return text.strip() in ("A", "B")


def fitted(folder: Path, board: OversightConfig, seed: int) -> float:
    """Train with that seed and save, in the Hugging Face format; how much of what it says can be read."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    from superalign.models.chatting import prompt_of

    torch.manual_seed(seed)
    rng = random.Random(seed)
    told = examples(board, rng)
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    texts = ["\n".join(turn.content for turn in ask.messages) + ask.schema + answer for ask, answer in told]
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=["<|pad|>", "<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    words = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>")
    config = MistralConfig(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=8192, sliding_window=WINDOW, bos_token_id=None, eos_token_id=1,
        pad_token_id=0,
    )  # fmt: skip
    network = MistralForCausalLM(config)
    rows: dict[str, list[Any]] = {}
    for ask, answer in told:
        prompt = prompt_of(words, ask, who="")
        assert prompt is not None
        said = [*words(" " + answer, add_special_tokens=False)["input_ids"], 1]
        rows.setdefault(str(_shape(answer)), []).append((list(prompt.ids)[-(TAIL - len(said)) :], said))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        batch = [rng.choice(rows[kind]) for kind in rows for _ in range(ROWS // len(rows))]
        ids = torch.zeros(ROWS, TAIL, dtype=torch.long)
        labels = torch.full_like(ids, -100)
        for i, (before, said) in enumerate(batch):
            whole = [*before, *said]
            ids[i, : len(whole)] = torch.tensor(whole)
            labels[i, len(before) : len(whole)] = torch.tensor(said)
        loss = network(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval().save_pretrained(folder)
    words.save_pretrained(folder)
    return readable(folder, told)
