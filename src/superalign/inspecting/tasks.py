"""Every protocol of oversight as an Inspect task: `superalign/debate`, `superalign/critique`, …

    inspect eval superalign/debate --model superalign/hf:/models/strong --model-role judge=superalign/hf:/models/weak
    inspect eval superalign/consultancy --model openai/gpt-4o -T task=mutants -T items=100 --epochs 2

Options (-T): task (slips, traces, mutants, rules, or a data file of yours), split, items, seed, budget (pieces that the
judge is shown in one play), judge_by (logprob, samples, auto), samples, judge_prompt, judge_tokens, prompts
(SEAT=FILE,…), temperature and tokens of advisers. Protocols that train players by playing (market making, …) teach them
once an evaluation, by `lesson` items of the training split, which is some hundred requests and more: begin with
`-T lesson=4 --limit 2` and look at the usage that Inspect prints. A judge that thinks before it answers needs
judge_tokens: 8, the usual number for a letter, cuts it off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from inspect_ai import Task, task

from superalign.inspecting.asking import dataset_of
from superalign.inspecting.items import Drawn, TaskUnfit, samples_of
from superalign.inspecting.playing import oversee, protocol_named, verdict
from superalign.inspecting.teaching import lesson_for
from superalign.oversight.protocols import PROTOCOLS

LESSON = 12
"""Items by which players that are trained learn, usually."""
ONLY = {"bisection": ("traces",)}
"""Protocols that want steps which follow from each other."""
UNCHECKED = ("rules",)
"""Tasks of which no single piece can be checked: no protocol with a referee is played on them."""


def slug(name: str) -> str:
    """A protocol's name as a task's.

    >>> slug("critique of 3 with discarding"), slug("prover-verifier")
    ('critique_of_3_with_discarding', 'prover_verifier')
    """
    return name.replace(" ", "_").replace("-", "_")


def task_of(protocol: str) -> Callable[..., Task]:
    """The task of one protocol, as Inspect registers it."""

    def made(
        task: str = "slips",
        split: str = "validation",
        items: int = 50,
        seed: int = 0,
        budget: int = 4,
        judge_by: str = "auto",
        samples: int = 8,
        judge_prompt: str = "",
        prompts: str = "",
        temperature: float = 0.7,
        tokens: int = 800,
        judge_tokens: int = 0,
        lesson: int = LESSON,
    ) -> Task:
        why = unplayable(protocol, task)
        if why:
            raise TaskUnfit(f"{protocol} on {task}: {why}")
        drawn = Drawn(task=task, split=split, items=items, seed=seed)
        rules = protocol_named(protocol, budget)
        seatings = rules.seatings(2)
        dials = {"judge_by": judge_by, "samples": samples, "judge_prompt": judge_prompt, "prompts": prompts}
        dials |= {"temperature": temperature, "tokens": tokens, "judge_tokens": judge_tokens}
        stated = {"drawn": asdict(drawn), "family": drawn.family, "seatings": [list(sides) for sides in seatings]}
        if rules.learns:
            of, _ = lesson_for(drawn, lesson)
            dials["lesson"] = asdict(of)
            stated["lesson"] = {"drawn": asdict(of), "family": of.family}
        return Task(
            dataset=dataset_of(samples_of(drawn, seatings), drawn),
            solver=oversee(protocol, budget=budget, seed=seed, **dials),  # type: ignore[arg-type]
            scorer=verdict(),
            name=slug(protocol),
            display_name=f"{protocol}: {rules.title}",
            metadata={"superalign": {**stated, "protocol": protocol, "budget": budget, "rules": _rules(rules)}},
        )

    made.__name__ = made.__qualname__ = slug(protocol)
    made.__doc__ = f"{protocol}: {PROTOCOLS[protocol].title}. {PROTOCOLS[protocol].source}"
    return made


def unplayable(protocol: str, task: str) -> str:
    """Why models in words can't play a protocol on a task; empty where they can."""
    if task not in ONLY.get(protocol, (task,)):
        return f"it is played on {', '.join(ONLY[protocol])} alone"
    if PROTOCOLS[protocol].referee and task in UNCHECKED:
        return "no single line of it is wrong, so that no claim can be checked"
    return ""


def _rules(rules: Any) -> str:
    from superalign.oversight.identity import rules_digest

    return rules_digest(rules)


TASKS: dict[str, Callable[..., Task]] = {name: task(name=slug(name))(task_of(name)) for name in PROTOCOLS}
"""Protocol → its task, in the order of the boards; other packages' protocols among them."""
