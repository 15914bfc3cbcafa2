"""What a completion earns under GRPO: any function of TRL's form, and no completion is ever dropped.

    def shorter(prompts, completions, **columns):        # columns: those of the rows, one value a completion
        return [-float(len(text)) for text in completions]

TRL leaves completions out of their group that a reward gives None or NaN. Here they earn the floor instead, and every
completion is logged with what it earned and, where it could not be judged, with the kind of failure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from superalign.training.trl.errors import FinetuneError

if TYPE_CHECKING:
    from superalign.training.trl.running import Place  # torch loads where it is needed

UNSCORED = "unscored"
"""Kind of a completion for which a reward returned nothing, or no finite number."""
OWN = ("trainer_state", "log_extra", "log_metric", "completion_ids")
"""What TRL hands to a reward beside the columns of the rows."""


class Pay(NamedTuple):
    """What one completion earns; `kind` says why it could not be judged, and is empty where it was."""

    reward: float
    kind: str = ""


Reward = Callable[..., Sequence[float | None]]
"""(prompts, completions, **columns) → a number a completion. One that has a method `judged` of the same arguments
returns Pay there, kinds included; one with an `identity` is told apart from others by it."""


def paid(reward: Any, prompts: Sequence[Any], completions: Sequence[Any], columns: Mapping[str, Any]) -> list[Pay]:
    """Ask a reward; what is no finite number has the kind `unscored` and no number yet (NaN).

    Raises FinetuneError where it does not answer for every completion.
    """
    judge = getattr(reward, "judged", None)
    said = (judge or reward)(prompts=prompts, completions=completions, **columns)
    if len(said) != len(completions):
        raise FinetuneError(f"the reward {name_of(reward)} got {len(completions)} completions, and paid {len(said)}")
    pays = [each if isinstance(each, Pay) else Pay(math.nan if each is None else float(each)) for each in said]
    return [p if math.isfinite(p.reward) else Pay(math.nan, p.kind or UNSCORED) for p in pays]


def paying(reward: Any, place: Place, *, floor: float) -> Callable[..., list[float]]:
    """The reward as TRL calls it: failures earn the floor, and every completion goes into the log."""

    def earned(prompts: Sequence[Any], completions: Sequence[Any], **named: Any) -> list[float]:
        step = int(named["trainer_state"].global_step)
        columns = {name: value for name, value in named.items() if name not in OWN}
        out = []
        for prompt, said, pay in zip(prompts, completions, paid(reward, prompts, completions, columns), strict=True):
            amount = floor if math.isnan(pay.reward) else pay.reward
            place.write(step=step, prompt=plain(prompt), said=plain(said), reward=amount, kind=pay.kind)
            out.append(amount)
        return out

    earned.__name__ = name_of(reward)
    return earned


def name_of(reward: Any) -> str:
    """What a reward is called."""
    return str(getattr(reward, "__name__", type(reward).__name__))


def plain(said: Any) -> str:
    """A text, or the last of a list of messages, as text."""
    return said if isinstance(said, str) else str(said[-1]["content"])


def kinds_of(samples: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many completions could not be judged, by kind."""
    return dict(sorted(Counter(sample["kind"] for sample in samples if sample["kind"]).items()))
