"""The trainer's plans: a validation signal never gets into a fit, outside quarantine."""

import pytest

from superalign.evidence import FirewallError, Workspace
from superalign.training.record import plan_fit

BASE, GOOD, HELD = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def ws(tmp_path):
    with Workspace.open(tmp_path / "ws", keys_dir=tmp_path / "keys") as workspace:
        workspace.node(kind="model", digest=BASE, name="base")
        workspace.base(BASE, reason="test")
        workspace.contains(GOOD, families=[("construction", "slips", "train")])
        workspace.contains(HELD, families=[("construction", "slips", "validation")])
        yield workspace


def test_training_data_may_be_fitted(ws):
    plan_fit(ws, name="m", base=BASE, data=[GOOD])


@pytest.mark.parametrize("data", [[HELD], [GOOD, HELD], ["d" * 64]])
def test_validation_and_unknown_data_may_not(ws, data):
    before = len(ws.ledger.events())
    with pytest.raises(FirewallError, match=r"R\d"):
        plan_fit(ws, name="m", base=BASE, data=data)
    assert len(ws.ledger.events()) == before
