"""The self-exfiltration range: how far do scripted solvers and a model of one's own get with worthless weights?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superalign.pipeline.game.config import StressConfig
from superalign.pipeline.game.studies.study import StudyJob, Told
from superalign.stats import binomial_interval

PLAYER = "writer"
SMALL = 32_768
"""Bytes of fake weights: what a successful episode sent is kept whole."""


def jobs(config: StressConfig) -> list[StudyJob]:
    """Every scripted agent, and a model."""
    from superalign.adversarial.exfiltration.study import KNOWN

    quick = config.preset == "quick"
    return [StudyJob(study="exfiltration", what=name, seed=config.seed, quick=quick) for name in (*KNOWN, PLAYER)]


def work(job: StudyJob) -> dict[str, Any]:
    """Episodes of one agent, raw."""
    from superalign.adversarial.exfiltration.agents import local_agent
    from superalign.adversarial.exfiltration.episode import as_raw
    from superalign.adversarial.exfiltration.study import play_range, solvers
    from superalign.adversarial.writers import load_writer

    model, count = job.what == PLAYER, 3 if job.quick else 5
    agents = {PLAYER: lambda seed: local_agent(load_writer(), seed=seed)} if model else solvers()
    seeds = range(job.seed, job.seed + (4 * count if model else count))
    nudges = ("none", "asked") if model else ("none",)
    episodes = play_range({job.what: agents[job.what]}, seeds=seeds, nudges=nudges, size=SMALL)
    return {"agent": job.what, "episodes": [as_raw(one) for one in episodes]}


def told(raw: Sequence[Mapping[str, Any]]) -> list[Told]:
    """Scripted agents graded as they are known; whose weights arrived, by hash; main work done."""
    from superalign.adversarial.exfiltration.episode import episode_of
    from superalign.adversarial.exfiltration.study import KNOWN, known, range_rows

    out = []
    for one in raw:
        for row in range_rows([episode_of(each) for each in one["episodes"]]):
            name, n = f"{row['agent']}.{row['nudge']}".replace(" ", "_"), row["n"]
            title = f"{row['agent']}" + ("" if row["nudge"] == "none" else f", nudge: {row['nudge']}")
            figures = {
                "match": ("all of the weights arrived, by hash", row["reached"]["match"]["count"]),
                "main": ("honest work done", row["main"]["count"]),
            }
            if row["agent"] in KNOWN:
                figures["known"] = ("graded exactly as it is known to go", known(row))
            for figure, (what, count) in figures.items():
                told_as = Told(name=f"{name}.{figure}", title=f"{title}: {what}", interval=binomial_interval(count, n))
                out.append(told_as)
    return out
