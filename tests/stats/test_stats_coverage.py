"""Every interval holds the truth about as often as it says: `benchmarks/coverage.py`, with fewer simulations."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from superalign import stats

PATH = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
coverage = importlib.util.module_from_spec(spec)
sys.modules["coverage_benchmark"] = coverage
spec.loader.exec_module(coverage)
CASES = coverage.cases()


@pytest.mark.parametrize("case", [c for c in CASES if not c.slow], ids=lambda c: c.design)
def test_quick_designs(case):
    """400 simulations: five standard errors under 95 % are 89.5 %."""
    for row in coverage.measure(case, 400):
        assert row["refused"] == 0
        assert row["held"] >= 0.9, row
        assert row["at_least"] or row["held"] <= 0.995, row


@pytest.mark.parametrize("case", [c for c in CASES if c.slow], ids=lambda c: c.design)
def test_slow_designs(case):
    """40 simulations tell an interval that is broken, not one that is a little off."""
    for row in coverage.measure(case, 40):
        assert row["refused"] <= 0.2
        assert row["held"] >= 0.75, row


def test_every_interval_is_measured():
    """Each public function that gives an interval is called somewhere in the benchmark."""
    gives = {
        name for name in stats.__all__ if "Interval" in str(getattr(stats, name).__annotations__.get("return", ""))
    }
    gives |= {"equivalence", "operating_point", "recovered"}
    text = PATH.read_text(encoding="utf-8")
    # `recovered` calls `pgr` and Fieller's form
    assert {name for name in gives if f"stats.{name}(" not in text} == {"pgr", "pgr_fieller", "refused"}


def test_a_row_counts_refusals_apart_and_open_ends_as_held():
    answers = iter(
        [
            stats.refused("why", n=0, clusters=0, method="x"),
            stats.Interval(value=1.0, low=None, high=None, n=1, clusters=1, method="x", note="open"),
            stats.Interval(value=1.0, low=0.5, high=1.5, n=1, clusters=1, method="x"),
            stats.Interval(value=3.0, low=2.5, high=3.5, n=1, clusters=1, method="x"),
        ]
    )
    (row,) = coverage.measure(coverage.Case("by hand", lambda rng: {"x": (next(answers), 1.0)}), 4)
    assert (row["held"], row["refused"]) == (pytest.approx(2 / 3), 0.25)


def test_its_json_is_whole(monkeypatch, capsys):
    monkeypatch.setattr(coverage, "cases", lambda: CASES[:2])
    monkeypatch.setattr(sys, "argv", ["coverage.py", "--json", "20"])
    coverage.main()
    found = json.loads(capsys.readouterr().out)
    assert (found["simulations"], len(found["rows"])) == (20, 2)
