"""The example of docs/interpretability.md runs, and prints an explanation with its score."""

import re
from pathlib import Path


def test_the_example_runs(capsys):
    page = Path(__file__).parents[2] / "docs" / "interpretability.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    exec(compile(example, str(page), "exec"), {})
    *text, score = capsys.readouterr().out.split()
    assert text[0] in ("fires", "less", "does")
    assert -1 <= float(score) <= 1
