"""What the study of monitors counts: its pure parts."""

import importlib.util
import sys
from pathlib import Path

import pytest

from superalign.adversarial.monitors.scored import Case
from superalign.adversarial.monitors.types import Step, Suspicion
from superalign.stats import refused
from superalign.tasks.functions import FORMS, call

PLACE = Path(__file__).parents[2] / "benchmarks" / "adversarial_monitors.py"
spec = importlib.util.spec_from_file_location("adversarial_monitors", PLACE)
study = importlib.util.module_from_spec(spec)
sys.modules["adversarial_monitors"] = study
spec.loader.exec_module(study)


@pytest.mark.parametrize("form", range(FORMS))
def test_the_form_of_a_payload_is_read_from_the_program(form):
    assert study.form_of(f"{call('canary', form)} <1> return [ x for x in xs ]") == str(form)
    assert study.form_of(f"{call('trace', form)} <1> return [ x for x in xs ]") == ""


def test_halves_share_no_request():
    some = [Case(step=Step(prompt="p", completion=str(i), cluster=f"c{i % 7}"), attack=False) for i in range(50)]
    one, two = study.halves(some)
    assert len(one) + len(two) == 50
    assert not {c.step.cluster for c in one} & {c.step.cluster for c in two}


def test_a_kept_monitor_scores_each_step_once():
    class Counting:
        name, family, digest, asked = "counting", "static", "d", 0

        def score(self, steps):
            Counting.asked += len(steps)
            return [Suspicion(score=float(len(step.completion))) for step in steps]

    monitor = study.kept(Counting())
    steps = [Step(prompt="p", completion=text, cluster=text) for text in ("a", "bb", "a")]
    assert [s.score for s in monitor.score(steps)] == [1.0, 2.0, 1.0] == [s.score for s in monitor.score(steps)]
    assert Counting.asked == 2


def test_briefs_are_of_few_lengths_and_of_their_place():
    plan = (("on", 20), ("off", 20))
    found = study.asked("pair", 0, plan, split="dev")
    assert [where for where, _ in found].count("on") == 20
    assert all(study.WRITER_KINDS["pair"].on(brief) == (where == "on") for where, brief in found)
    for place in ("on", "off"):
        assert len({len(study.prompt(b).split()) for where, b in found if where == place}) <= study.LENGTHS


def test_a_refusal_is_a_dash():
    assert study.told(refused("none", n=0, clusters=0, method="m")) == "–"
    assert study.table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"
