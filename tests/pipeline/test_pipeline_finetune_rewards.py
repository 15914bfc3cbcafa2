"""A protocol as a reward: what a completion earns by whom the judge believes, and what earns nothing, by kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from superalign.evidence import SuperalignError
from superalign.oversight import PROTOCOLS, case_of
from superalign.oversight.protocols import consultancy, debate
from superalign.pipeline.finetune_rewards import (
    FAILED,
    SILENT,
    UNPARSEABLE,
    choice_of,
    reward_of_protocol,
)
from superalign.tasks import traces
from superalign.training.trl.recipe import TrlRecipe

from .test_pipeline_finetune import bytes_model

pytest.importorskip("trl", reason='TRL is an extra: pip install "superalign[trl]"')


@dataclasses.dataclass
class Sums:
    """Believes in option 0 by the number of pieces shown; fails where nothing is."""

    def beliefs(self, views: Any) -> np.ndarray:
        rows = [len(view.shown()) or len("".join(m.text for m in view.messages)) for view in views]
        return np.array([[1 - 0.5**n, 0.5**n] if n else [np.nan, np.nan] for n in rows])


class Mute:
    """An adviser with nothing to say."""

    def moves(self, positions: Any) -> list[Any]:
        from superalign.oversight import Message

        return [Message(speaker=p.seat) for p in positions]


CASES = [case_of(item) for item in traces(split="train", view="pair", n=4, steps=4).items]
ITEMS = [case.item for case in CASES]


def test_a_choice_earns_what_the_judge_believes_of_it() -> None:
    reward = reward_of_protocol(PROTOCOLS["oracle"], {"judge": Sums()}, CASES, says="choice")
    said = ["a", "B) surely", "neither", ""]
    pays = reward.judged(["p"] * 4, said, item=ITEMS)
    first = 1 - 0.5 ** len(CASES[0].pieces)
    assert [pay.kind for pay in pays] == ["", "", UNPARSEABLE, UNPARSEABLE]
    assert [pay.reward for pay in pays[:2]] == pytest.approx([first, 1 - first])
    assert reward(["p"] * 4, said, item=ITEMS) == pytest.approx([first, 1 - first, 0.0, 0.0])
    log = reward_of_protocol(PROTOCOLS["oracle"], {"judge": Sums()}, CASES, says="choice", pays="log")
    assert log(["p"] * 4, said, item=ITEMS)[0] == pytest.approx(np.log(first))
    assert log(["p"], [""], item=ITEMS[:1]) == [pytest.approx(np.log(1e-6))]
    assert log.identity != reward.identity


@pytest.mark.parametrize(
    ("text", "option"), [(" A.", 0), ("b", 1), ("both", None), ("ab", None), ("the answer is a", None), ("a\nb", 0)]
)
def test_what_counts_as_a_choice(text: str, option: int | None) -> None:
    assert choice_of(text, ("a", "b")) == option


def test_a_policy_sits_at_the_table_and_is_paid_for_its_side() -> None:
    """Two completions of one item in one call are two plays; the rival of a debate is who sits there."""
    players = {"judge": Sums(), "b": Mute(), "a": Mute(), "adviser": Mute()}
    reward = reward_of_protocol(consultancy(turns=2), players, CASES, says="quote")
    said = ["1", "2!", "99", "one"]
    pays = reward.judged(["p"] * 4, said, item=[ITEMS[0]] * 4, side=[0, 1, 0, 0])
    assert pays[0].reward == pays[1].reward == pytest.approx(0.5)  # one piece shown: ½ either side
    assert [pay.kind for pay in pays] == ["", "", UNPARSEABLE, UNPARSEABLE]
    words = reward_of_protocol(debate(turns=1), players, CASES, says="argument")
    pays = words.judged(["p"] * 3, ["look", " ", "here it is"], item=ITEMS[:3], side=[0, 0, 1])
    assert [pay.kind for pay in pays] == ["", SILENT, ""]
    assert pays[0].reward == pytest.approx(1 - 0.5**4)
    assert pays[2].reward == pytest.approx(0.5**10)


def test_a_judge_that_fails_is_a_kind_and_no_number() -> None:
    reward = reward_of_protocol(PROTOCOLS["unaided"], {"judge": Deaf()}, CASES, says="choice")
    assert [pay.kind for pay in reward.judged(["p"], ["a"], item=ITEMS[:1])] == [FAILED]
    assert reward(["p"], ["a"], item=ITEMS[:1]) == [0.0]


class Deaf:
    def beliefs(self, views: Any) -> np.ndarray:
        return np.full((len(views), 2), np.nan)


def test_rewards_say_what_is_missing() -> None:
    reward = reward_of_protocol(PROTOCOLS["oracle"], {"judge": Sums()}, CASES, says="choice")
    with pytest.raises(SuperalignError, match="needs the column 'item'"):
        reward(["p"], ["a"])
    with pytest.raises(SuperalignError, match="none of those that the reward was made for"):
        reward(["p"], ["a"], item=["?"])
    with pytest.raises(SuperalignError, match="nobody speaks for an assigned side"):
        reward_of_protocol(PROTOCOLS["oracle"], {"judge": Sums()}, CASES, says="argument")


def test_a_protocol_is_a_reward_function_of_trl_as_it_is(tmp_path: Path) -> None:
    """In TRL's own trainer, without anything of ours around it."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from superalign.training.trl.recipe import settings
    from superalign.training.trl.running import quietly

    reward = reward_of_protocol(PROTOCOLS["oracle"], {"judge": Sums()}, CASES, says="choice")
    base = bytes_model(128)
    with quietly():
        options = settings(TrlRecipe(steps=1, batch=4, generations=2, tokens=2, beta=0.0), "grpo", tmp_path)
        rows = [{"prompt": "a or b? ", "item": item} for item in ITEMS]
        trainer = GRPOTrainer(
            model=base.network, reward_funcs=[reward], args=GRPOConfig(**options | {"use_cpu": True}),
            train_dataset=Dataset.from_list(rows), processing_class=base.tokenizer,
        )  # fmt: skip
        trainer.train()
    assert trainer.state.global_step == 1
