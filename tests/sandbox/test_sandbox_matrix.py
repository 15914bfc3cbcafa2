"""The self-test matrix: every attempt fails inside, and most are seen to succeed outside."""

import os

import pytest

from superalign.sandbox.probes import PROBES
from superalign.sandbox.selftest import host, selftest


def test_no_attempt_succeeds_inside(layer):
    found = list(selftest([layer]))
    assert len(found) == len(PROBES) + 1 >= 26
    assert [one.probe for one in found if not one.held] == []
    if os.geteuid() == 0:
        shown = [one.probe for one in found if one.outside]
        assert len(shown) >= 25, "a probe that never succeeds anywhere shows nothing"


def test_what_the_probes_reach_for_is_there_and_goes_away():
    with host() as prepared:
        folder = prepared["folder"]
        assert prepared["secret"] in os.environ["SUPERALIGN_PROBE"]
        assert os.path.exists(f"{folder}/secret")
    assert "SUPERALIGN_PROBE" not in os.environ
    assert not os.path.exists(folder)


@pytest.mark.parametrize("probe", PROBES, ids=[p.name for p in PROBES])
def test_probes_are_python_and_name_what_they_need(probe):
    known = ("port", "abstract", "folder", "secret", "home", "pid", "marker")
    script = probe.script
    for name in known:
        script = script.replace(f"{{{name}}}", "0")
    compile(script.replace("{{", "{").replace("}}", "}"), probe.name, "exec")
    assert probe.group in ("reach", "files", "processes", "kernel", "exhaustion")
