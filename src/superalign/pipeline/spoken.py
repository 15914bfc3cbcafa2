"""Players of a board that are asked in words: who is at which address, on what terms, with which prompts.

    voices = voices_of(config, chosen)          # checked; nothing is sent, nothing is written
    voices = kept_by(voices, config, ws)        # whatever they answer is kept in the workspace before anyone reads it
    players = seats_in_words(protocol, config, voices)

Of a model behind an API nobody sees the weights: the ledger knows it by its address, and says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from superalign.evidence import SuperalignError, Workspace
from superalign.models.remote import Kept, KeptSpeaker, Purse, RemoteSpeaker, Terms
from superalign.models.speaker import Speaker
from superalign.models.speakers import speaker_at
from superalign.oversight import Protocol
from superalign.oversight.advisers.spoken import SpokenAdviser
from superalign.oversight.judges.spoken import LETTER, SpokenJudge
from superalign.oversight.prompts.chat import SHELF, ChatPrompt, parse_chat_prompt
from superalign.oversight.prompts.template import file_of
from superalign.oversight.spoken import PROMPTS
from superalign.oversight.spoken.seats import prompt_of
from superalign.pipeline.board_config import WORDS, OversightConfig, speaks
from superalign.pipeline.desk import Desk, register
from superalign.pipeline.lineage import made_here
from superalign.pipeline.spending import priceless, terms_of

JUDGE, ADVISERS = "judge", "advisers"
SEATS = ("adviser", "a", "b", "critic", "second critic")
"""Where advisers that speak can sit."""
UNSEEN = "weights unseen"
SEVERAL = ("inspect:openai-api",)
"""Providers that stand for several services, each with a key of its own."""
_WEIGHTS = re.compile(r"@([0-9a-f]{64})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """A model that is asked in words."""

    address: str
    speaker: Speaker
    form: str
    """Of its raw responses (`superalign.models.remote.replies.FORMS`)."""
    price: tuple[float, float] | None
    """USD for a million tokens, read and written; None: nobody says."""

    @property
    def identity(self) -> str:
        """As its speaker has it."""
        return self.speaker.identity

    @property
    def unseen(self) -> bool:
        """Is it known by its address alone?"""
        return _WEIGHTS.search(self.identity) is None

    @property
    def digest(self) -> str:
        """Of its weights; of its address where nobody sees them."""
        found = _WEIGHTS.search(self.identity)
        return found[1] if found else hashlib.sha256(self.identity.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Voices:
    """Who speaks on a board, and the files of the prompts by which they are asked."""

    judge: Voice | None
    advisers: Voice | None
    files: Mapping[str, bytes]
    """Label (a name, or a path as it was given) → the prompt's file."""
    using: str = ""
    """How the judge believes: "logprob" or "samples"; empty while its first answer has not shown it."""

    def named(self) -> dict[str, Voice]:
        """`JUDGE` and `ADVISERS`, as far as they speak."""
        found = {JUDGE: self.judge, ADVISERS: self.advisers}
        return {who: voice for who, voice in found.items() if voice is not None}

    def prompt(self, label: str) -> ChatPrompt:
        """The prompt of that label. Raises PromptError for what is none."""
        return parse_chat_prompt(self.files[label], where=label)

    @property
    def parts(self) -> tuple[str, ...]:
        """What of them decides how a cell is played, weights of local models aside."""
        told = [[who, voice.identity] for who, voice in self.named().items()]
        prompts = {label: hashlib.sha256(data).hexdigest() for label, data in sorted(self.files.items())}
        return (hashlib.sha256(json.dumps([told, prompts, self.using]).encode()).hexdigest(),)

    def close(self) -> None:
        """Let connections and the index of replies go."""
        for voice in self.named().values():
            kept = voice.speaker if isinstance(voice.speaker, RemoteSpeaker) else getattr(voice.speaker, "kept", None)
            if kept is not None:
                kept.close()


def voices_of(
    config: OversightConfig, chosen: Mapping[str, Protocol], *, files: Mapping[str, bytes] | None = None
) -> Voices | None:
    """Who speaks on that board; None where nobody does. Nothing is sent. `files`: prompts, instead of those named.

    Raises SuperalignError for addresses, prompts and options that can't be, and for a limit without a price.
    """
    if not speaks(config.judge) and not speaks(config.advisers):
        return None
    _fits(config)
    labels = [config.judge_prompt] if speaks(config.judge) else []
    if speaks(config.advisers):
        labels += [label_of(config, protocol, seat) for protocol in chosen.values() for seat in protocol.seats]
    judge = _voice(config.judge, config, JUDGE) if speaks(config.judge) else None
    same = judge is not None and config.advisers == config.judge and _terms(config, JUDGE) == _terms(config, ADVISERS)
    advisers = judge if same else _voice(config.advisers, config, ADVISERS) if speaks(config.advisers) else None
    voices = Voices(judge=judge, advisers=advisers, files=_files(labels) if files is None else files)
    prompts = {label: voices.prompt(label) for label in labels}
    if judge is not None:
        judge_in_words(config, voices, judge.speaker)
    if odd := [label for label in labels[judge is not None :] if prompts[label].role != "adviser"]:
        raise SuperalignError(f"the prompt {odd[0]} is one of a judge: give an adviser's to --adviser-prompts")
    if unknown := [v.address for v in voices.named().values() if config.limit is not None and v.price is None]:
        raise priceless(unknown[0])
    return voices


def kept_by(voices: Voices, config: OversightConfig, ws: Workspace) -> Voices:
    """The same, asked on the config's terms; replies are kept in the workspace. One limit holds for all of them."""
    purse, made = Purse(config.limit), dict[str, Voice]()
    for who, voice in voices.named().items():
        if who == ADVISERS and voice is voices.judge:
            made[who] = made[JUDGE]
            continue
        if isinstance(voice.speaker, RemoteSpeaker):
            terms = replace(_terms(config, who), kept=ws.path, store=ws.store)
            speaker: Speaker = speaker_at(voice.address, terms=terms, purse=purse)
            voice.speaker.close()
        else:
            speaker = KeptSpeaker(voice.speaker, Kept(ws.path, ws.store))
        made[who] = replace(voice, speaker=speaker)
    return replace(voices, judge=made.get(JUDGE), advisers=made.get(ADVISERS))


def settled_voices(config: OversightConfig, voices: Voices) -> Voices:
    """The same, knowing how the judge believes: where that is open, it is asked once, about nothing."""
    if voices.judge is None:
        return voices
    return replace(voices, using=judge_in_words(config, voices, voices.judge.speaker).settled().using)


def judge_in_words(
    config: OversightConfig, voices: Voices, speaker: Speaker, *, scale: float = 1.0, by: str = ""
) -> SpokenJudge:
    """The judge that `speaker` is on this board. Raises SuperalignError for options or a prompt that can't be."""
    try:
        return SpokenJudge(
            speaker=speaker,
            prompt=voices.prompt(config.judge_prompt),
            by=by or voices.using or config.judge_by,  # type: ignore[arg-type]
            samples=config.samples,
            tokens=config.judge_tokens,
            scale=scale,
        )
    except ValueError as error:
        raise SuperalignError(f"the judge {config.judge}: {error}") from error


def seats_in_words(
    protocol: Protocol, config: OversightConfig, voices: Voices, speaker: Speaker
) -> dict[str, SpokenAdviser]:
    """A protocol's advisers, each seat with its prompt; seats of one prompt share a player."""
    made: dict[str, SpokenAdviser] = {}
    for label in (labels := {seat: label_of(config, protocol, seat) for seat in protocol.seats}).values():
        if label not in made:
            made[label] = SpokenAdviser(speaker=speaker, prompt=voices.prompt(label))
    return {seat: made[label] for seat, label in labels.items()}


def label_of(config: OversightConfig, protocol: Protocol, seat: str) -> str:
    """The prompt that a seat has: the one that was asked for, else the one that ships."""
    own = dict(entry.split("=", 1) for entry in config.adviser_prompts)
    return str(own.get(seat) or prompt_of(protocol, seat))


def uses_letter(prompt: ChatPrompt) -> bool:
    """Can a judge that is asked by it believe by log-probability?"""
    return prompt.answer == LETTER


def described(config: OversightConfig, voices: Voices, board: str, left_out: Mapping[str, str]) -> dict[str, Any]:
    """What the `run` event of that board says of them."""
    who = {
        name: {"address": voice.address, "identity": voice.identity, "form": voice.form, "unseen": voice.unseen}
        for name, voice in voices.named().items()
    }
    prompts = {}
    for label, data in sorted(voices.files.items()):
        prompt = voices.prompt(label)
        digest = hashlib.sha256(data).hexdigest()
        prompts[label] = {"name": prompt.name, "version": prompt.version, "digest": digest}
    return {"board": board, "who": who, "prompts": prompts, "left out": dict(left_out)}


def enter_voices(desk: Desk, voices: Voices) -> None:
    """The models as the ledger knows them, and the files of their prompts in the store."""
    for data in voices.files.values():
        desk.ws.store.put(data)
    for voice in dict.fromkeys(voices.named().values()):
        model = getattr(getattr(voice.speaker, "speaker", None), "model", None)
        if hasattr(model, "network"):  # one here, kept: its weights are known
            address = voice.address.removeprefix(WORDS)
            register(desk, model, base="pretrained before any signal of this ledger was drawn", address=address)
            continue
        name = f"{voice.identity}, {UNSEEN}" if voice.unseen else voice.identity.rpartition("@")[0]
        desk.ws.node(kind="model", digest=voice.digest, name=name)
        if made_here(desk, voice.digest):  # fitted in this workspace, and served: it keeps its lineage
            continue
        known = f"{UNSEEN}, known by its address alone" if voice.unseen else "known by its weights"
        desk.ws.base(voice.digest, reason=f"{known}: fitted to nothing here; what it was trained on, nobody here knows")


def _fits(config: OversightConfig) -> None:
    """Raises SuperalignError for options that don't go together."""
    if config.advise != "usual":
        raise SuperalignError(
            f"--advise {config.advise} asks the judge by the thousand: leave it out where models speak"
        )
    if config.temper < 0 or (config.temper and not speaks(config.judge)):
        raise SuperalignError(f"--temper {config.temper}: a number of lesson items, for a judge that speaks")
    if config.judge_tokens < 0 or (config.judge_tokens and not speaks(config.judge)):
        raise SuperalignError(f"--judge-tokens {config.judge_tokens}: tokens of an answer, for a judge that speaks")
    for entry in config.adviser_prompts:
        seat, _, file = entry.partition("=")
        if seat not in PROMPTS or not file:
            raise SuperalignError(
                f"--adviser-prompts {entry}: write SEAT=NAME or SEAT=FILE.md, seats {', '.join(PROMPTS)}"
            )
    if config.adviser_prompts and not speaks(config.advisers):
        raise SuperalignError("--adviser-prompts are for advisers that speak: give --advisers such a model's address")


def _voice(address: str, config: OversightConfig, who: str) -> Voice:
    bare = address.removeprefix(WORDS)
    if address.startswith(WORDS) and not bare.startswith(("family:", "hf:")):
        raise SuperalignError(f"{address!r:.80}: behind words: stands a model of this machine, family:SIZE or hf:PATH")
    speaker = speaker_at(bare, terms=_terms(config, who))
    if not isinstance(speaker, RemoteSpeaker):
        return Voice(address=address, speaker=speaker, form="reply", price=(0.0, 0.0))
    price = (speaker.price.read, speaker.price.written) if speaker.price else None
    return Voice(address=address, speaker=speaker, form=speaker.line.form, price=price)


def _terms(config: OversightConfig, who: str) -> Terms:
    """On what terms the judge, or the advisers, are asked. A key goes to the place that it was given for only."""
    price, key = config.price, config.key_from
    if who == ADVISERS:
        price = config.adviser_price or price
        near = _place(config.judge) in ("", _place(config.advisers))
        key = config.adviser_key_from or (key if near else "")
    return terms_of(config, price=price, key_from=key)


def _place(address: str) -> str:
    """Scheme and host, or provider, whom a key is for; empty of whoever is here and takes none.

    >>> _place("inspect:openai-api/alpha/m")
    'inspect:openai-api/alpha'
    >>> _place("https://there.org/v1#m"), _place("inspect:openai/gpt-4o"), _place("words:hf:weak"), _place("family:xs")
    ('https://there.org', 'inspect:openai', '', '')
    """
    if address.startswith("inspect:"):
        provider, _, rest = address.partition("/")
        return f"{provider}/{rest.partition('/')[0]}" if provider in SEVERAL else provider
    try:
        parts = urlsplit(address)
    except ValueError:  # no address: whoever is to ask there says so
        return address
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def _files(labels: Iterable[str]) -> dict[str, bytes]:
    return {label: file_of(label, SHELF)[0] for label in sorted(set(labels))}
