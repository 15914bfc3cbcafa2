"""Interpretability: looking inside, as a validation instrument only. Names load their modules when they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

NAMES = {
    "corpus": ("Corpus", "packed", "split_of"),
    "corpora": ("code_corpus", "text_corpus"),
    "units": ("Site", "activations", "directions", "neurons"),
    "dictionaries": ("Dictionary", "features", "load_dictionary"),
    "recording": ("Recording",),
    "sketch": ("COMPACT", "FULL", "Scope", "Sketch"),
    "explanation": ("Explainer", "Explanation", "Sample", "drawn", "read_sample"),
    "tables": ("bigram", "top_tokens", "trigram", "unigram"),
    "compiled": ("spoken",),
    "described": ("describe", "judge"),
    "controls": ("all_and_only", "shuffled", "untrained"),
    "scores": ("agreement", "agreement_on"),
    "correlations": ("Scored", "Sums", "correlation", "frontier", "gain", "trained_over_fresh"),
    "judging": ("detection", "fuzzing", "shown_windows"),
    "simulated": ("simulate", "surprisal"),
    "causal": ("ablation", "to_simulation"),
    "attribution": ("attributed", "loss_score", "reward_score", "verified"),
    "steering": ("dose_curve", "side_effects", "steered"),
    "search": ("by_text", "labelled", "matched"),
    "reward_units": ("joined", "pooled_reward"),
    "probe": ("Probe", "control_labels", "fit_probe", "pooled", "probe_scores", "train_probe"),
    "reward_lens": ("leave_one_out", "matched_edits", "sweep"),
    "difference": ("compare",),
}
"""Module → what it gives to this room's door; what is named as its module is (`record`, `search`) is found in there."""
_HOME = {name: module for module, names in NAMES.items() for name in names}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Of PEP 562: the module that holds the name is imported now. Raises AttributeError for other names."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """All names, loaded or not."""
    return sorted(__all__)
