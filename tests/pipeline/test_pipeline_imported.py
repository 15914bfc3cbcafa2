"""Numbers of imported evaluations, from stored rows alone: what failed counts as the least, or there is no number."""

from types import SimpleNamespace

import pytest

from superalign.pipeline.imported import ImportedUnfit, measure_imported

SIGNAL = "ab" * 32


def measured(rows):
    """The measurements that follow from these rows: (scores by the scorer `match`, failure)."""
    said = []
    stored = {
        "task": "sums",
        "subject": "m@" + "cd" * 32,
        "role": "validation",
        "signals": {"match": SIGNAL},
        "rows": [
            {"cluster": str(at), "scores": {"match": scores} if scores else {}, "failure": failure}
            for at, (scores, failure) in enumerate(rows)
        ],
    }
    ws = SimpleNamespace(
        store=SimpleNamespace(get_json=lambda digest: stored), measure=lambda each: said.append(each) or len(said)
    )
    measure_imported(ws, "ef" * 32, log="01" * 32)
    return said


def test_what_failed_stays_in_the_denominator_by_kind():
    (one,) = measured([({"": 1.0}, "")] * 6 + [({}, "errored"), ({"": None}, "")])
    assert (one.value, one.n) == (0.75, 8)
    assert one.tags["failures"] == {"errored": 1, "unscored": 1}
    assert "2 samples without a score count as the least possible" in one.note
    (failed,) = measured([({"failed": 0.0}, "")] * 3 + [({}, "errored")])
    assert failed.value == 0.25, "a count of failures counts them"


def test_where_everything_failed_there_is_no_number_and_it_is_said():
    with pytest.raises(ImportedUnfit, match="no sample of this import has a number to compute from"):
        measured([({}, "errored")] * 4)
    with pytest.raises(ImportedUnfit, match="it may have 1 to"):
        measured([])
