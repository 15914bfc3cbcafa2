"""The self-test matrix: every attempt fails inside, and most are seen to succeed outside."""

import os

import pytest

from superalign.sandbox.probes import PROBES
from superalign.sandbox.selftest import filled, host


def test_no_attempt_succeeds_inside(matrix, layer):
    found = [one for one in matrix if one.layer == layer.name]
    assert len(found) == len(PROBES) + 1 >= 50
    assert [one.probe for one in found if not one.held] == []


def test_most_attempts_are_seen_to_succeed_outside(matrix):
    """A probe that never succeeds anywhere shows nothing; some ask for what only root may, some would harm."""
    shown = {one.probe for one in matrix if one.outside}
    assert len(shown) >= (40 if os.geteuid() == 0 else 25)
    never = {one.probe for one in matrix if one.outside is False}
    assert not never or os.geteuid() != 0, never


def test_what_the_probes_reach_for_is_there_and_goes_away():
    with host() as prepared:
        folder = prepared["folder"]
        assert prepared["secret"] in os.environ["SUPERALIGN_PROBE"]
        assert os.path.exists(f"{folder}/secret")
    assert "SUPERALIGN_PROBE" not in os.environ
    assert not os.path.exists(folder)


@pytest.mark.parametrize("probe", PROBES, ids=[p.name for p in PROBES])
def test_probes_are_python_and_name_what_they_need(probe):
    known = ("port", "abstract", "folder", "open", "secret", "home", "pid", "marker")
    script = filled(probe.script, dict.fromkeys(known, "0"))
    compile(script, probe.name, "exec")
    assert probe.group in ("reach", "files", "processes", "kernel", "exhaustion")
    assert "GOT" in script
