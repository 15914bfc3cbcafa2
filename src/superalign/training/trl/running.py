"""One run of a TRL trainer: quiet, watched, stopped by a loss that is no number, and resumed where it was killed.

A run's folder holds TRL's own checkpoints, `run.json` with the key of the run, and `log.jsonl` with a line a loss and a
line a judged completion. A state counts when its `trainer_state.json`, which is written last, can be read; lines of the
log that come after it are dropped. Checkpoints are read as weights only: nothing is unpickled.
"""

from __future__ import annotations

import json
import logging
import random
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from superalign.training.trl.errors import FinetuneError

Progress = Callable[[int, int], None]
"""(steps done, steps in all)."""
RUN, LOG, STATE = "run.json", "log.jsonl", "trainer_state.json"
OLD_NAMES = r".*gradient_checkpointing.* is deprecated"
"""transformers 5 warns of its own old names, which TRL uses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run keeps its state, and from which state it goes on."""

    folder: Path
    state: Path | None = None
    """Last complete checkpoint; None: from the beginning."""

    @property
    def step(self) -> int:
        """Steps that lie behind."""
        return 0 if self.state is None else int(self.state.name.rpartition("-")[2])

    def write(self, **line: Any) -> None:
        """Append a line to the log."""
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; a line that was torn by a kill is left out."""
        path = self.folder / LOG
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return [json.loads(line) for line in text.split("\n")[:-1]]  # not splitlines: what is said may hold U+2028


@contextmanager
def place_of(resume: Path | None, key: str) -> Iterator[Place]:
    """The run's folder: `resume`, removed when the run is through, or a temporary one where nothing is to be kept.

    Raises FinetuneError where `resume` is of another run, or a folder of something else.
    """
    if resume is None:
        with tempfile.TemporaryDirectory(prefix="superalign-") as name:
            yield Place(folder=Path(name))
        return
    known = _key_in(resume)
    if known is None and resume.exists() and any(resume.iterdir()):
        raise FinetuneError(f"{resume} holds something that is no state of a training: name another folder")
    if known not in (None, key):
        raise FinetuneError(
            f"{resume} is of a training with another base, data, recipe, reward or version of a library: "
            "remove it, or name another folder"
        )
    resume.mkdir(parents=True, exist_ok=True)
    if known is None:
        (resume / RUN).write_text(json.dumps({"key": key}), encoding="utf-8")
    place = Place(folder=resume, state=_last_state(resume))
    kept = [line for line in place.lines() if line["step"] < place.step]
    whole = resume / f"{LOG}.new"  # put in its place in one go: a kill here loses no line
    whole.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
    whole.replace(resume / LOG)
    yield place
    # a kill while it is removed leaves nothing that looks like a state
    over = resume.with_name(f".{resume.name}.trl-done")
    shutil.rmtree(over, ignore_errors=True)
    resume.rename(over)
    shutil.rmtree(over)


def _key_in(folder: Path) -> str | None:
    path = folder / RUN
    if not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise FinetuneError(f"{path} can't be read: remove the folder to begin anew") from error


def _last_state(folder: Path) -> Path | None:
    """The checkpoint with most steps that is whole; torn ones are removed."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        try:
            found[int(json.loads((path / STATE).read_text(encoding="utf-8"))["global_step"])] = path
        except (OSError, ValueError, KeyError):
            shutil.rmtree(path)  # killed while it was being written
    return found[max(found)] if found else None


@contextmanager
def quietly() -> Iterator[None]:
    """TRL, transformers and datasets print nothing, show no bars and send no telemetry; settings are put back.

    Who asks for random numbers outside of the block gets those that it would have got without it.
    """
    import datasets
    from huggingface_hub import constants
    from transformers.utils import logging as transformers_logging

    bars, shards = not datasets.are_progress_bars_disabled(), transformers_logging.is_progress_bar_enabled()
    verbosity, sends = transformers_logging.get_verbosity(), constants.HF_HUB_DISABLE_TELEMETRY
    loggers = [logging.getLogger(name) for name in ("trl", "accelerate", "datasets")]
    levels = [logger.level for logger in loggers]
    python, numbers = random.getstate(), np.random.get_state()
    try:
        datasets.disable_progress_bars()
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        constants.HF_HUB_DISABLE_TELEMETRY = True
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.filterwarnings("ignore", message=OLD_NAMES, category=FutureWarning)
            yield
    finally:
        if bars:
            datasets.enable_progress_bars()
        if shards:
            transformers_logging.enable_progress_bar()
        transformers_logging.set_verbosity(verbosity)
        constants.HF_HUB_DISABLE_TELEMETRY = sends
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        random.setstate(python)
        np.random.set_state(numbers)


def watched(trainer: type, place: Place, *, name: str) -> type:
    """A trainer of this class that logs every loss, and stops before a loss that is no number spoils the weights.

    What is logged is what each forward pass adds to its step's loss, whether TRL or transformers divides them.
    """

    class Watched(trainer):  # type: ignore[misc]
        def compute_loss(self, *given: Any, **named: Any) -> Any:
            found = super().compute_loss(*given, **named)
            loss = float((found[0] if isinstance(found, tuple) else found).detach())
            if not np.isfinite(loss):
                raise FinetuneError(
                    f"{name}: the loss is {loss} at step {self.state.global_step}: lower the rate "
                    f"({self.args.learning_rate}), or look for weights or rewards that are no numbers"
                )
            return found

        def training_step(self, *given: Any, **named: Any) -> torch.Tensor:
            loss: torch.Tensor = super().training_step(*given, **named)
            place.write(step=int(self.state.global_step), loss=float(loss))
            return loss

    return Watched


def run(trainer: Any, place: Place, *, name: str, progress: Progress | None) -> None:
    """Train to the end, from the place's last state on."""
    from transformers import PrinterCallback, TrainerCallback

    class Watching(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            grads = [p.grad for p in named["model"].parameters() if p.grad is not None]
            if not all(bool(torch.isfinite(grad).all()) for grad in grads):
                raise FinetuneError(
                    f"{name}: the gradient is not finite at step {state.global_step}: lower the rate "
                    f"({args.learning_rate})"
                )

        def on_step_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            if progress:
                progress(state.global_step, state.max_steps)

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watching())
    trainer.train(resume_from_checkpoint=str(place.state) if place.state else None)


def losses_in(lines: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Loss of each step, in order."""
    steps: dict[int, float] = {}
    for line in lines:
        if "loss" in line:
            steps[line["step"]] = steps.get(line["step"], 0.0) + line["loss"]
    return tuple(steps[step] for step in sorted(steps))
