"""What can go wrong in fine-tuning with TRL: one error, whose text says what, where and what to do."""

from __future__ import annotations

from importlib.util import find_spec

from superalign.evidence import SuperalignError

INSTALL = 'pip install "superalign[trl]"'


class FinetuneError(SuperalignError, ValueError):
    """Rows, a model or a recipe that can't be trained with, or a training that broke."""


def need_trl() -> None:
    """Raises FinetuneError with the one command that installs what is missing."""
    missing = [name for name in ("trl", "peft", "datasets") if find_spec(name) is None]
    if missing:
        raise FinetuneError(f"fine-tuning needs {', '.join(missing)}, which is not installed: {INSTALL}")
