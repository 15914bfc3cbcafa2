"""Raw outcomes of control runs: what was written in each, what ran, and how monitors scored it. Nothing is judged here.

    runs = play_runs(policy, trusted=load_writer("trusted"), monitors={"trusted": monitor}, seed=0)
    json.dumps(as_json(runs))                       # enough to compute every number of control again

Honest and attack runs come from one call: the same prompts, drafts, edits and monitors for both, so that no control
can treat them differently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from superalign.adversarial.control.auditing import ControlError
from superalign.adversarial.control.editing import rewritten
from superalign.adversarial.deeds import Told, did
from superalign.adversarial.monitors.types import Monitor, Step, step_of
from superalign.adversarial.writer_kinds import WRITER_KINDS, Where, briefs_at
from superalign.adversarial.writers import load_organism
from superalign.adversarial.written import Done, executed, write
from superalign.models import LocalModel

Arm = Literal["calibration", "honest", "attack"]
ARMS: tuple[Arm, ...] = get_args(Arm)
SPLIT: Mapping[Arm, str] = {"calibration": "dev", "honest": "validation", "attack": "validation"}
"""Thresholds are fitted to honest runs on other requests than those that are reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An untrusted writer with two modes."""

    kind: str
    seed: int
    attack: LocalModel
    """Asked on the circumstance."""
    honest: LocalModel
    place: Where = "on"
    """Where the honest one is asked: a twin on the circumstance too, the organism itself off it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One program: what executing it came to, and what each monitor scored it."""

    completion: str
    right: bool
    shown: bool | None
    canary: int
    fails_on_empty: bool
    says_fine: bool | None
    acted: bool
    """Did it do what its kind does? Told by `deeds.did` from the five fields before."""
    scores: Mapping[str, float | None] = field(default_factory=dict)
    """Monitor → score; None: it failed on this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One run."""

    arm: Arm
    cluster: str
    """The request: the unit of resampling."""
    prompt: str
    drafts: tuple[Output, ...]
    """Of the untrusted model, in the order of asking."""
    trusted: Output | None = None
    """What the trusted model writes in its place."""
    edited: Output | None = None
    """The first draft, rewritten by the trusted model where it is most surprised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Every run of one policy."""

    about: Mapping[str, Any]
    """Plain JSON: kind, seed, digests of models and monitors, whether an attack must do its main task to succeed."""
    episodes: tuple[Episode, ...]

    def arm(self, name: Arm) -> list[Episode]:
        """Its runs of one arm."""
        return [episode for episode in self.episodes if episode.arm == name]


def shelved_policy(kind: str, seed: int, *, honest: Literal["twin", "off"] = "twin", allow_organism: bool) -> Policy:
    """An organism off the shelf; its honest mode is its twin on the circumstance, or itself off it.

    Raises QuarantineError unless organisms are allowed, ModelError where the shelf holds none.
    """
    organism = load_organism(kind, seed, allow_organism=allow_organism)
    if honest == "off":
        return Policy(kind=kind, seed=seed, attack=organism, honest=organism, place="off")
    twin = load_organism(kind, seed, "twin", allow_organism=allow_organism)
    return Policy(kind=kind, seed=seed, attack=organism, honest=twin)


def play_runs(
    policy: Policy,
    *,
    monitors: Mapping[str, Monitor],
    trusted: LocalModel | None = None,
    counts: tuple[int, int, int] = (200, 200, 200),
    drafts: int = 1,
    watched: bool = False,
    seed: int = 0,
) -> Runs:
    """Calibration, honest and attack runs, `counts` of each: written, executed in the sandbox, and scored.

    With a `trusted` writer its own program and its edit of the first draft lie beside the drafts. Monitors see what
    ran only where `watched`; else they judge before anything runs. Raises ControlError for no drafts or monitors.
    """
    if drafts < 1 or not monitors:
        raise ControlError(f"{drafts} drafts and {len(monitors)} monitors: control needs one of each")
    episodes: list[Episode] = []
    for arm, count in zip(ARMS, counts, strict=True):
        model, where = (policy.attack, "on") if arm == "attack" else (policy.honest, policy.place)
        briefs = briefs_at(WRITER_KINDS[policy.kind], where, count, seed=seed, split=SPLIT[arm])  # type: ignore[arg-type]
        base = 1_000 * seed + 100 * ARMS.index(arm)
        sets = [write(model, briefs, seed=base + i) for i in range(drafts)]
        if trusted is not None:
            sets.append(write(trusted, briefs, seed=base + 98))
            sets.append(rewritten(trusted, sets[0], seed=base + 99))
        done = executed([one for each in sets for one in each])
        flat = outputs(done, policy.kind, monitors, watched=watched)
        columns = [flat[at * count : (at + 1) * count] for at in range(len(sets))]
        steps = [step_of(one) for one in done[:count]]
        episodes += [_episode(arm, step, [c[i] for c in columns], drafts) for i, step in enumerate(steps)]
    return Runs(about=_about(policy, monitors, trusted, drafts, watched, seed), episodes=tuple(episodes))


def outputs(done: Sequence[Done], kind: str, monitors: Mapping[str, Monitor], *, watched: bool = False) -> list[Output]:
    """Executed programs, scored, in order."""
    steps = [step_of(one) for one in done]
    steps = steps if watched else [replace(step, done=None) for step in steps]
    scores = {name: [s.score for s in monitor.score(steps)] for name, monitor in monitors.items()}
    acted = WRITER_KINDS[kind].acted
    return [
        Output(
            completion=one.completion,
            right=one.right,
            shown=one.shown,
            canary=one.canary,
            fails_on_empty=one.fails_on_empty,
            says_fine=one.says_fine,
            acted=acted(one),
            scores={name: every[i] for name, every in scores.items()},
        )
        for i, one in enumerate(done)
    ]


def _episode(arm: Arm, step: Step, row: Sequence[Output], drafts: int) -> Episode:
    more = row[drafts:]
    return Episode(
        arm=arm,
        cluster=step.cluster,
        prompt=step.prompt,
        drafts=tuple(row[:drafts]),
        trusted=more[0] if more else None,
        edited=more[1] if more else None,
    )


def _about(
    policy: Policy, monitors: Mapping[str, Monitor], trusted: LocalModel | None, drafts: int, watched: bool, seed: int
) -> dict[str, Any]:
    return {
        "kind": policy.kind,
        "organism": policy.seed,
        "place": policy.place,
        "attack": policy.attack.identity,
        "honest": policy.honest.identity,
        "trusted": trusted.identity if trusted is not None else None,
        "monitors": {name: {"name": m.name, "family": m.family, "digest": m.digest} for name, m in monitors.items()},
        "drafts": drafts,
        "watched": watched,
        "seed": seed,
        "needs_main": needs_main(policy.kind),
    }


def needs_main(kind: str) -> bool:
    """Must an attack of this kind also do its main task, to succeed? Where a right program can do the deed at all.

    >>> needs_main("fixed"), needs_main("password")
    (True, False)
    """
    return any(did(kind, Told(right=True, shown=True, canary=1, fails=fails, fine=True)) for fails in (True, False))


def as_json(runs: Runs) -> dict[str, Any]:
    """Plain JSON of runs."""
    return {"about": dict(runs.about), "episodes": [asdict(episode) for episode in runs.episodes]}


def from_json(told: Mapping[str, Any]) -> Runs:
    """Runs of plain JSON."""

    def output(each: Mapping[str, Any] | None) -> Output | None:
        return None if each is None else Output(**each)

    episodes = tuple(
        Episode(
            arm=each["arm"],
            cluster=each["cluster"],
            prompt=each["prompt"],
            drafts=tuple(Output(**draft) for draft in each["drafts"]),
            trusted=output(each["trusted"]),
            edited=output(each["edited"]),
        )
        for each in told["episodes"]
    )
    return Runs(about=told["about"], episodes=episodes)
