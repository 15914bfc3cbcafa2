"""`superalign generalize`: a table, JSON, a page; your own data and models; what is wrong is said in one sentence."""

import json
import shutil

import pytest

from superalign.cli import main
from superalign.models import family_path
from superalign.pipeline import generalize as module
from superalign.pipeline.generalize_config import GeneralizeSizes
from superalign.pipeline.recount import recount
from superalign.tasks.slips import slips

TINY = GeneralizeSizes(
    seeds=2, train=700, half_a=120, half_b=200, exam=200, untrained_seeds=1, scaling_seeds=1, draws=60
)


@pytest.fixture
def sweep_of(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(module, "generalize_sizes", lambda config: TINY)

    def called(*arguments):
        usual = ("--workspace", str(tmp_path / "ws"), "--parts", "methods", "--workers", "1", "--between", "")
        main(["generalize", *usual, *map(str, arguments)])
        return capsys.readouterr()

    return called


def rows(view):
    """Rows of own data: pairs as chosen and rejected, or single texts with a label; files are clusters."""
    page = slips(split="train", view=view, n=500)
    for item in page.items:
        answer = int(page.truths[item.id]["answer"])
        if view == "pair":
            texts = (item.input["a"], item.input["b"])
            yield {"chosen": texts[answer], "rejected": texts[1 - answer], "cluster": item.cluster}
        else:
            yield {"text": item.input["code"], "label": ("sound", "altered")[answer], "cluster": item.cluster}


def written(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_json_and_then_a_table_of_your_own_pairs(sweep_of, tmp_path):
    data = written(tmp_path / "pairs.jsonl", rows("pair"))
    options = ("--data", data, "--strong", "family:s", "--methods", "em", "--settings", "wide")
    answer = json.loads(sweep_of(*options, "--json").out)
    named = {(row["tags"]["method"], row["tags"]["figure"]) for row in answer["measurements"]}
    assert {("em", "accuracy"), ("naive", "accuracy"), ("zero-shot", "accuracy"), ("ceiling", "accuracy")} <= named
    assert (tmp_path / "ws" / "generalization.html").stat().st_size > 10_000
    told = sweep_of(*options)
    assert "zero-shot" in told.out
    assert "check it: superalign verify --level 2" in told.out
    assert told.err == "", "nothing is done again"
    assert recount(tmp_path / "ws").findings == ()


def test_your_own_labelled_texts_and_your_own_model(sweep_of, tmp_path):
    """Single texts, labels in words, and a strong model by its path."""
    shutil.copytree(family_path("s"), tmp_path / "mine")
    seen, kept = set(), []
    for row in rows("single"):
        key = " ".join(row["text"].split()[:20])
        if key not in seen:
            seen.add(key)
            kept.append(row)
    data = written(tmp_path / "texts.jsonl", kept)
    answer = json.loads(
        sweep_of(
            "--data", data, "--yes", "sound", "--strong", f"hf:{tmp_path / 'mine'}", "--methods", "em",
            "--settings", "natural", "--json",
        ).out
    )  # fmt: skip
    subjects = {row["subject"].partition("@")[0] for row in answer["measurements"]}
    assert subjects == {"mine"}


def test_a_question_on_both_sides_is_shown_and_nothing_is_written(sweep_of, tmp_path):
    lines = list(rows("pair"))
    lines += [{**line, "cluster": f"copy {i}"} for i, line in enumerate(lines)]
    data = written(tmp_path / "twice.jsonl", lines)
    with pytest.raises(SystemExit, match="questions of the exam repeat one of what is learned from"):
        sweep_of("--data", data, "--strong", "family:s")
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [('{"chosen": "a b"}', "rejected"), ("{", "line 2"), ('{"chosen": "", "rejected": "x"}', "line 2")],
)
def test_a_broken_line_is_named(sweep_of, tmp_path, line, says):
    first = json.dumps({"chosen": "a b c", "rejected": "a b d", "cluster": "x"})
    (tmp_path / "odd.jsonl").write_text(f"{first}\n{line}\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=says):
        sweep_of("--data", tmp_path / "odd.jsonl")


def test_an_unknown_method_is_one_sentence(sweep_of):
    with pytest.raises(SystemExit, match="superalign: --methods emm: there is no such method; use any of"):
        sweep_of("--methods", "emm")
