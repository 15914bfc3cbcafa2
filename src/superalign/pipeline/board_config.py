"""What a leaderboard is: tasks, players, budget and sizes, and which protocol can be played on which task."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from superalign.pipeline import spending

TASKS = ("slips", "traces", "mutants", "rules", "pixels")
OWN = "data:"
"""Before a file of your own."""
_OWN = re.compile(r"data-[a-z0-9-]{1,32}-[0-9a-f]{8}\.(choice|preference|label|unpaired|stepwise|mutant)", re.ASCII)
"""Its name on a board: the data's, and its format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OversightConfig:
    """Every protocol of scalable oversight on the same items, with the same judge, advisers, budget and seeds."""

    workspace: Path = Path(".superalign")
    """Folder of ledger and objects; a leaderboard that was stopped here goes on."""
    preset: Literal["default", "quick"] = "default"
    """Sizes: `default` for evidence, `quick` for a first look."""
    tasks: tuple[str, ...] = ("slips", "traces", "rules", "pixels")
    """What is judged: slips, traces, mutants, rules, pixels, or data:FILE, rows of your own (docs/data.md): their split
    validation is judged, train is learned from."""
    items: int = field(default=0, metadata={"added": True})
    """How many items of the validation split of each task are judged; 0: those of the preset, or all of your own where
    these are fewer."""
    protocols: tuple[str, ...] = ()
    """Names of protocols; none: all. The controls are always played."""
    judge: str = "family:xs"
    """The weak judge of code and calculations: family:SIZE, hf:PATH, prompt:ADDRESS (such a model, asked in words for
    its verdict), or person: you, at this terminal. Rules and pictures have readers of their own. Judges of every task:
    person, and models that speak: inspect:PROVIDER/MODEL, http(s)://HOST/v1#MODEL, vllm:PATH, words:hf:PATH."""
    advisers: str = "family:m"
    """The strong model that advises on code and calculations; one that speaks advises on every task."""
    budget: int = 4
    """Pieces that the judge reads in one play."""
    seeds: int = 1
    """Seeds: of every draw, and of whatever is trained."""
    seed: int = 0
    """The first of them."""
    advise: Literal["usual", "search", "plan", "trained"] = field(default="usual", metadata={"added": True})
    """How advisers argue: `search` quote by quote against the judge, `plan` whole sets of quotes, or as a policy that
    was `trained` against it and asks it nothing. `usual`: plans for rules, where no single quote tells, else search."""
    checks: Literal["stored", "executed"] = field(default="stored", metadata={"added": True})
    """How a claim about `mutants` is checked: by the stored verdict, or by running the test anew in the sandbox."""
    prompt: str = field(default="verdict", metadata={"added": True})
    """What a prompted judge is asked: verdict, short, or a file of your own (.md)."""
    stand_in: str = field(default="family:xs", metadata={"added": True})
    """Where a person judges, or a model that speaks: the model that advisers search against."""
    curve: tuple[int, ...] = field(default=(), metadata={"added": True})
    """Further budgets at which some protocols are played as well; none: those of the preset (2 and 8, `quick` none)."""
    judge_by: Literal["auto", "logprob", "samples"] = field(default="auto", metadata={"added": True})
    """How a judge that speaks believes: by log-probability of its verdict's letter, or by sampled verdicts. `auto`: by
    log-probability if its first answer comes with them."""
    samples: int = field(default=8, metadata={"added": True})
    """Verdicts drawn for one belief where it believes by samples; an even number."""
    judge_prompt: str = field(default="judge", metadata={"added": True})
    """What a judge that speaks is asked: judge, judge-reasons, or a file of your own (.md)."""
    adviser_prompts: tuple[str, ...] = field(default=(), metadata={"added": True})
    """What advisers that speak are asked, in the place of the prompts that ship: SEAT=NAME or SEAT=FILE.md."""
    judge_tokens: int = field(default=0, metadata={"added": True})
    """Of a judge's answer, at most, where it speaks; 0: 8 for a letter, 400 for reasons. One that thinks before it
    answers needs more."""
    temper: int = field(default=0, metadata={"added": True})
    """Lesson items on which it is fitted how far a judge that speaks can be trusted; 0: it is taken at its word."""
    concurrency: spending.Concurrency = field(default=8, metadata={"added": True})
    per_minute: spending.PerMinute = field(default=None, metadata={"added": True})
    tokens_per_minute: spending.TokensPerMinute = field(default=None, metadata={"added": True})
    timeout: spending.Timeout = field(default=120.0, metadata={"added": True})
    retries: spending.Retries = field(default=6, metadata={"added": True})
    price: spending.Price = field(default=None, metadata={"added": True})
    adviser_price: tuple[float, float] | None = field(default=None, metadata={"added": True})
    """The same of the advisers, where it is another one."""
    limit: spending.Limit = field(default=None, metadata={"added": True})
    key_from: str = field(default="", metadata={"added": True})
    """Name of the environment variable that holds the key; empty: the provider's own, for a server none."""
    adviser_key_from: str = field(default="", metadata={"added": True})
    """The same of the advisers; empty: as the judge's, if they are at the same place."""
    dry_run: spending.DryRun = field(default=False, metadata={"added": True})
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = field(default=False, metadata={"added": True})
    """Only go on with a board of exactly these options; where the workspace has none, say what differs, and stop."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print one JSON object on stdout; progress goes to stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardSizes:
    """How much of everything."""

    items: int = 200
    lesson: int = 250
    """Pairs of the training split, at most: judges are fitted on them, players train with them. None was in the corpus
    of the family, and none of these pictures is shown to the judge of pictures before."""
    games: int = 150
    """Of these, how many are played when something is trained by playing."""
    judge_steps: int = 1_000
    """Of training the small reader of rules, which judges."""
    adviser_steps: int = 600
    """Of training the large one, which advises."""


def board_sizes(preset: str) -> BoardSizes:
    """The sizes of a preset."""
    return (
        BoardSizes(items=60, lesson=100, games=40, judge_steps=400, adviser_steps=150)
        if preset == "quick"
        else BoardSizes()
    )


MOST_ITEMS = 20 * BoardSizes().items
"""Of a task, at most: verifying plays every episode again."""
CONTROLS = ("unaided", "deference", "ensemble")
"""Always played, and what every protocol is compared with."""
PRIMARY = (("debate", "unaided"), ("debate", "consultancy"))
"""Confirmed pairs, a task each; all others are exploratory."""
BUDGETS, SEEDS = range(2, 33), range(1, 101)
CURVES: dict[str, tuple[int, ...]] = {"default": (2, 8), "quick": ()}
"""Preset → further budgets."""
PERSON, PROMPT = "person", "prompt:"
"""Judges that are no language model's likelihood."""
SPENDING = (*spending.SPENDING, "adviser_price", "adviser_key_from")
"""On what terms models that speak are asked: no part of what is played, but for what it costs."""
SETTINGS = ("workspace", "json", "resume", *SPENDING)
"""Options that are no part of what is played."""
ADDED = ("judge_by", "samples", "judge_prompt", "adviser_prompts", "temper", "judge_tokens")
"""Options that boards without players in words do not state."""
WORDS = "words:"
"""Before the address of a model here that is asked in words."""
SPEAKING = ("inspect:", "http://", "https://", "vllm:", WORDS)


def is_own(task: str) -> bool:
    """Is it the name of somebody's own rows?

    >>> is_own("data-questions-0123abcd.choice"), is_own("data:questions.jsonl"), is_own("slips")
    (True, False, False)
    """
    return _OWN.fullmatch(task) is not None


def own_form(task: str) -> str:
    """The format of somebody's own rows, by the task's name; empty of any other task."""
    found = _OWN.fullmatch(task)
    return found[1] if found else ""


def sized(sizes: BoardSizes, config: OversightConfig) -> BoardSizes:
    """The sizes of a preset, with as many items as were asked for."""
    return replace(sizes, items=config.items) if config.items else sizes


def speaks(address: str) -> bool:
    """Is whoever is at that address asked in words?

    >>> speaks("inspect:openai/gpt-4o"), speaks("words:family:m"), speaks("family:m"), speaks("prompt:family:m")
    (True, True, False, False)
    """
    return address.startswith(SPEAKING)


def settled(config: OversightConfig) -> OversightConfig:
    """The options with the further budgets that they come to, in order, and without `resume` and the terms of asking.

    >>> settled(OversightConfig(curve=(8, 4, 6))).curve, settled(OversightConfig(preset="quick")).curve
    ((6, 8), ())
    """
    dear = config.judge == PERSON or speaks(config.judge) or speaks(config.advisers)
    curve = sorted(set(config.curve or (() if dear else CURVES[config.preset])) - {config.budget})
    return replace(spending.without_terms(config, SPENDING), curve=tuple(curve), resume=False)


def why_not(protocol: str, referee: bool, task: str, *, learns: bool = False) -> str:
    """Why a protocol is not played on a task; empty where it is. `learns`: does it train players by playing?

    >>> why_not("bisection", True, "slips")
    'needs steps that follow from each other'
    >>> why_not("critique", True, "data-questions-0123abcd.choice")
    'that one place of it is wrong, nobody has put on record: no claim can be checked'
    """
    if protocol == "bisection" and task != "traces":
        return "needs steps that follow from each other"
    if (form := own_form(task)) and form != "mutant":
        if referee:
            return "that one place of it is wrong, nobody has put on record: no claim can be checked"
        if learns and form != "preference":
            return "trains its players on pairs of texts, and this has one text for all options"
    if protocol in ("recursive reward modelling", "prover-estimator") and task == "rules":
        return "adds evidence up over parts, and a proof says nothing until it is whole"
    if referee and task == "rules":
        return "that a line follows, or not, is for the judge to say: no single line is wrong"
    if referee and task == "pixels":
        return "no claim about a pixel can be checked: what is quoted is seen"
    if protocol == "deference" and task == "pixels":
        return "judge and adviser are one net, which sees little or all"
    return ""
