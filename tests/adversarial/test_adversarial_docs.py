"""The example of docs/adversarial.md runs, and prints an operating point."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from superalign.sandbox import Isolation, standing


@pytest.mark.skipif(
    not any(isinstance(layer, Isolation) for layer in standing()), reason="no sandbox stands on this machine"
)
def test_the_example_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "adversarial.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    exec(compile(example, str(page), "exec"), {})
    assert "surprisal" in capsys.readouterr().out
