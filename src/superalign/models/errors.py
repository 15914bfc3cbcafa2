"""What can be wrong with a model address, each its own error."""

from __future__ import annotations

from superalign.evidence.errors import SuperalignError


class ModelError(SuperalignError):
    """A model cannot be used; the message says which, where and what to do."""


class QuarantineError(ModelError):
    """An organism or twin was addressed without `allow_organism=True`."""
