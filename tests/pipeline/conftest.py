"""One tiny run for all tests of the pipeline, stopped twice on its way."""

import dataclasses
import shutil

import pytest

from superalign.models import family_path
from superalign.pipeline import RunConfig, sizes
from superalign.pipeline import run as run_module

TINY = dataclasses.replace(
    sizes("quick"),
    seeds=2,
    train_pairs=260,
    half_a=80,
    half_b=100,
    test_pairs=240,
    checks=20,
    dev_pairs=80,
    validation_pairs=120,
    install_pairs=60,
    audit_pairs=40,
    audit_sweep=20,
    steps=15,
    trace_pairs=20,
    mutant_pairs=40,
    once_pairs=130,
    gallery=3,
    draws=200,
)


class Stop(Exception):
    """What the test raises in the middle of a run."""


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A run on hf:PATH that was stopped twice and finished by the third call."""
    folder = tmp_path_factory.mktemp("pipeline")
    shutil.copytree(family_path("s"), folder / "mine")
    config = RunConfig(workspace=folder / "ws", preset="quick", model=f"hf:{folder / 'mine'}", workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setenv("SUPERALIGN_CACHE", str(folder / "cache"))
        patch.setattr(run_module, "sizes", lambda preset: TINY)
        for word in ("weak to strong, seed 1", "blind audit of m01"):

            def say(text, word=word):
                if text == word:
                    raise Stop

            with pytest.raises(Stop):
                run_module.run(config, say=say)
        said = []
        result = run_module.run(config, say=said.append)
        yield config, result, said
