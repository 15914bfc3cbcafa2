"""What a board in words would cost is a bound: over what a talker at length asks for, under what a mute one does."""

import dataclasses

import pytest

from superalign.models.remote.spending import read_estimate
from superalign.models.speaker import Ask, Turn
from superalign.pipeline import board as board_module
from superalign.pipeline import spoken as spoken_module
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_curves import cells_in_all
from superalign.pipeline.board_scores import chosen_protocols
from superalign.pipeline.spoken import voices_of
from superalign.pipeline.spoken_estimate import afforded, estimated

from .spoken_talker import Talker

SIZES = BoardSizes(items=3, lesson=12, games=4, judge_steps=2, adviser_steps=2)
HERE = {"judge": "words:family:xs", "advisers": "words:family:m"}


class Wordy(Talker):
    """Says something else in every answer, charges here and there, and keeps what it was asked."""

    identity = "wordy@" + "ab" * 32

    def __init__(self, asked):
        super().__init__()
        self.asked = asked

    def ask(self, asks):
        self.asked |= {ask.key(""): ask for ask in asks}
        return super().ask(asks)

    def _value(self, name, form, draw):
        if name != "charges":
            return super()._value(name, form, draw)
        many = 1 + int(draw * 1e6) % 4
        return [
            {"option": "AB"[int(draw * 1e7) >> k & 1], "place": 1 + (int(draw * 1e9) >> 3 * k) % 3} for k in range(many)
        ]


class Mute(Wordy):
    """Fits the form, and says nothing."""

    def _value(self, name, form, draw):
        return [] if name in ("quotes", "charges") else "" if name == "argument" else super()._value(name, form, draw)


@pytest.fixture
def board(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: SIZES)

    def made(talker, **changes):
        asked = {}
        monkeypatch.setattr(spoken_module, "speaker_at", lambda address, terms: talker(asked))
        return OversightConfig(workspace=tmp_path / "ws", tasks=("traces",), **HERE | changes), asked

    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"judge_by": "logprob"},
        {"judge_by": "auto", "protocols": ("open consultancy",)},
        {"judge_by": "samples", "samples": 2, "temper": 3, "protocols": ("debate with a check", "sequential debate")},
        {"judge_by": "logprob", "advisers": "family:s", "protocols": ("critique of 3 with discarding", "debate")},
        {"judge": "family:xs", "protocols": ("double consultancy", "critique of 3")},
        {"judge_by": "logprob", "protocols": ("critique best of 4",)},
        {"judge_by": "logprob", "advisers": "family:s", "protocols": ("critique best of 4",)},
        {"judge_by": "logprob", "curve": (2,), "seeds": 2, "protocols": ("critique",)},
    ],
)
def test_nobody_asks_for_more_than_the_estimate(changes, board):
    config, asked = board(Wordy, **changes)
    told = estimated(config, SIZES)
    assert not asked, "nothing is sent"
    assert not config.workspace.exists(), "nothing is written"
    play_board(config)
    assert len(asked) <= told.calls
    assert sum(map(read_estimate, asked.values())) <= told.read
    assert sum(ask.tokens for ask in asked.values()) <= told.written


def test_nobody_asks_for_less_than_the_least(board):
    config, asked = board(Mute, protocols=("debate", "critique of 3 with discarding"), judge_by="logprob")
    voices = voices_of(config, chosen_protocols(config))
    judge = dataclasses.replace(voices.judge, price=(1e6, 0.0))
    voices = dataclasses.replace(voices, judge=judge, advisers=judge)
    told = afforded(dataclasses.replace(config, limit=1e9), SIZES, chosen_protocols(config), voices)
    play_board(config)
    shortest = sum(sum(len(turn.content) for turn in ask.messages) / 5 for ask in asked.values())
    assert 0 < told.least < shortest < told.usd


def test_a_prompt_is_never_thought_shorter_than_a_tokenizer_makes_it():
    """Digits, signs, hexadecimal words of frames, and scripts of which a tokenizer knows the bytes only."""
    for text, least in (("<b6118027e68b9998> 0 3 03", 20), ("x=(a+b)*c", 9), ("日本語", 9), ("", 0)):
        assert read_estimate(Ask(messages=(Turn("user", text),), tokens=1)) >= least


@pytest.mark.parametrize("judge", ["inspect:a/b", "words:family:xs", "person"])
def test_whoever_is_asked_for_verdicts_only_is_asked_for_no_more_at_further_budgets(judge):
    config = settled(OversightConfig(judge=judge, tasks=("slips",), curve=(2, 8)))
    cells = [cell for _, cell, _ in cells_in_all(config, chosen_protocols(config))]
    assert {"unaided, budget 2", "critique, budget 8"} <= {cell.name for cell in cells}
    assert not [cell.name for cell in cells if cell.adapts or cell.protocol.record]
    usual = settled(OversightConfig(tasks=("slips",)))
    names = {cell.name for _, cell, _ in cells_in_all(usual, chosen_protocols(usual))}
    assert {"debate, adapted judge, budget 2", "debate, adapted judge, budget 8"} <= names
