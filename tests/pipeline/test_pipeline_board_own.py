"""Leaderboards on data of one's own: played, verified without the file, and refused where they can't be played."""

import shutil

import pytest

from superalign.evidence import SuperalignError, Workspace, export, verify
from superalign.evidence.bundle import opened
from superalign.pipeline import board as board_module
from superalign.pipeline.board import play_board, played_before
from superalign.pipeline.board_config import MOST_ITEMS, BoardSizes, OversightConfig, is_own, why_not
from superalign.pipeline.board_own import own_again, own_of, with_own
from superalign.pipeline.board_scores import page_of
from superalign.pipeline.recount import recount
from superalign.pipeline.rerun import rerun
from superalign.pipeline.spoken_estimate import estimated
from superalign.report.leaderboard import write_leaderboard
from superalign.tasks.own import BrokenLines

from .own_rows import SPLITS, mill, mills, preferred, written
from .spoken_talker import Talker, faulty

SIZES = BoardSizes(items=10, lesson=12, games=6, judge_steps=2, adviser_steps=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: SIZES)


def config(folder, file, **changes):
    usual = {"preset": "quick", "tasks": (f"data:{file}",), "protocols": ("debate",), "advisers": "family:s"}
    return OversightConfig(workspace=folder / "ws", **usual | changes)


def events(path, kind):
    with Workspace.open(path, create=False, write=False) as ws:
        return [event.body for event in ws.ledger.events(kind)]


def stored(path, digest):
    with Workspace.open(path, create=False, write=False) as ws:
        return ws.store.get_json(digest)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A board on questions about passages, judged and advised in words over a real server; the file is gone."""
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: SIZES)
        file = mills(folder, options=3)
        with faulty.running(Talker(refuses=0.1)) as server:
            at = faulty.at(server)
            own = config(folder, file, judge=at, advisers=at, protocols=("debate", "consultancy", "critique"), temper=4)
            play_board(own)
        file.unlink()
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A board on preferences, judged by likelihood; the file is gone."""
    folder = tmp_path_factory.mktemp("own-local")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: SIZES)
        file = written(folder / "pairs.jsonl", [preferred(i) for i in range(40)])
        play_board(config(folder, file, items=7))
        file.unlink()
    return folder


def test_a_board_in_words_on_passages_is_verified_from_a_bundle_without_the_file(spoken, tmp_path):
    bundle = tmp_path / "board.zip"
    export(spoken / "ws", bundle)
    with opened(bundle) as folder:
        assert verify(folder).ok
        counted = recount(folder)
    assert counted.findings == ()
    assert counted.followed == len(events(spoken / "ws", "measurement")) + 1


def test_what_is_judged_is_validation_and_what_is_learned_from_is_train(spoken):
    (run,) = events(spoken / "ws", "run")
    (task,) = run["board"]["tasks"]
    assert is_own(task)
    assert task.startswith("data-mills-of-old-")
    told = run["data"]["tasks"][task]
    assert dict(told["splits"]) == {"train": 15, "dev": 5, "validation": 15, "test": 5}
    assert told["cut to two options"] == 15
    family = task.partition(".")[0]
    held = [tuple(e["families"]) for e in events(spoken / "ws", "contains")]
    assert held == [(f"construction/{family}/{split}",) for split in ("train", "validation")]
    assert [e["family"] for e in events(spoken / "ws", "fingerprint")] == [f"construction/{family}/validation"]
    (stage,) = [e for e in events(spoken / "ws", "stage") if e["stage"] == f"{task}: debate, seed 0"]
    plays = stored(spoken / "ws", stored(spoken / "ws", stage["result"])["episodes"])["episodes"]
    assert len(plays) == 2 * SIZES.items, "both orders of the sides"
    assert {len(play["options"]) for play in plays} == {2}
    names = {e["tags"]["protocol"] for e in events(spoken / "ws", "measurement")}
    assert "debate" in names
    assert "critique" not in names
    assert dict(run["data"]["left out"][task]) == {"critique": why_not("critique", True, task)}


def test_the_page_says_what_was_judged_and_speaks_of_toys_only_where_there_were_some(spoken, local, tmp_path):
    pages = []
    for folder in (spoken, local):
        with Workspace.open(folder / "ws", create=False, write=False) as ws:
            pages.append(write_leaderboard(ws, tmp_path / "page.html").read_text())
    served, toys = pages
    assert "toy models" not in served
    assert "toy models" in toys
    for page, name in ((served, "data-mills-of-old-"), (toys, "data-pairs-")):
        assert "Data of one" in page
        assert name in page
    assert "nobody has put on record" in served


def test_a_local_judge_of_preferences_searched_against_is_verified_and_played_again(local):
    assert verify(local / "ws").ok
    counted, again = recount(local / "ws"), rerun(local / "ws")
    assert (counted.findings, again.findings) == ((), ())
    (run,) = events(local / "ws", "run")
    assert (run["board"]["items"], run["sizes"]["items"]) == ("7", 7)
    found = {e["name"].partition(".preference.")[2]: e for e in events(local / "ws", "measurement")}
    assert found["unaided.accuracy"]["n"] == 7
    assert found["debate, adapted judge.accuracy"]["value"] is not None
    assert found["deference.accuracy"]["value"] == 1, "code reads likelier than its shuffled words"


def copied(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "copy" / "keys"))
    return tmp_path / "copy" / "ws"


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_rows_in_the_store_that_are_changed_or_gone_are_found(how, local, tmp_path, monkeypatch):
    workspace = copied(local, tmp_path, monkeypatch)
    (run,) = events(workspace, "run")
    (told,) = run["data"]["tasks"].values()
    with Workspace.open(workspace, create=False, write=False) as ws:
        path = ws.store.path(told["rows"])
    path.chmod(0o644)
    if how == "changed":
        path.write_bytes(path.read_bytes().replace(b"return x", b"return y"))
    else:
        path.unlink()
    found = [finding.what for finding in recount(workspace).findings]
    assert any(told["rows"] in what or str(path) in what for what in found), found


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rows": "../../etc/passwd"}, "is no digest"),
        ({"rows": "0" * 64}, "is not in"),
        ({"name": "data-other-00000000"}, "is not what they are"),
        ({"splits": {"train": 1}}, "is not what they are"),
    ],
)
def test_a_stranger_names_rows_by_digest_alone_and_says_what_they_are(change, what, local):
    (run,) = events(local / "ws", "run")
    ((task, told),) = run["data"]["tasks"].items()
    with Workspace.open(local / "ws", create=False, write=False) as ws:
        assert own_again({"tasks": {task: told}}, (task,), ws.store)[task].data.form == "preference"
        with pytest.raises(SuperalignError, match=what):
            own_again({"tasks": {task: dict(told) | change}}, (task,), ws.store)
        other = task.replace("pairs", "others")
        again = own_again({"tasks": {other: dict(told) | {"name": other.rpartition(".")[0]}}}, (other,), ws.store)
        assert again[other].data.digest.startswith(other.rpartition(".")[0][-8:]), "a stem is only a name"
        wrong = f"{task.rpartition('.')[0][:-8]}00000000.preference"
        with pytest.raises(SuperalignError, match="other rows than those"):
            own_again({"tasks": {wrong: told}}, (wrong,), ws.store)


@pytest.mark.parametrize(
    "name",
    ["../x", "data:/etc/passwd", "data-/etc-00000000.choice", "data-x-0000000.choice", "data-x-00000000.csv", "data-x"],
)
def test_a_name_of_another_shape_is_no_task_of_a_ledger(name, local, tmp_path, monkeypatch):
    assert not is_own(name)
    workspace = copied(local, tmp_path, monkeypatch)
    with Workspace.open(workspace) as ws:
        (run,) = ws.ledger.events("run")
        board = dict(run.body["board"]) | {"tasks": [name]}
        ws.ledger.append("run", dict(run.body) | {"board": board}, actor="notary")
    found = [finding.what for finding in recount(workspace).findings]
    assert any("tasks or seeds that no leaderboard has" in what for what in found), found


def test_a_file_that_changed_is_another_board(local, tmp_path, monkeypatch):
    workspace = copied(local, tmp_path, monkeypatch)
    same = written(tmp_path / "pairs.jsonl", [preferred(i) for i in range(40)])
    again = config(tmp_path / "copy", same, items=7, resume=True)
    done, total = played_before(again)
    assert done == total > 0
    assert play_board(again)["workspace"] == str(workspace), "nothing is left to play"
    changed = written(tmp_path / "pairs.jsonl", [preferred(i) for i in range(41)])
    with pytest.raises(SuperalignError, match=r"--tasks was data-pairs-\w+\.pref\w+ and is data-pairs-\w+\.pref"):
        play_board(config(tmp_path / "copy", changed, items=7, resume=True))


REFUSED = [
    ({"splits": ("train", "test")}, {}, "has 0 rows in the split validation"),
    ({"splits": ("validation", "test")}, {}, "has no rows in the splits train and dev"),
    ({}, {"items": 16}, "has 15 rows in the split validation, which is judged, and --items 16 are wanted"),
    ({"passages": True}, {}, "--judge family:xs can't judge it; give words:hf:PATH"),
    ({"passages": True}, {"judge": "words:family:s"}, "--advisers family:s can't advise on it"),
    ({}, {"items": 1}, "1 items, is one cluster"),
    ({"cluster": "all"}, {}, "10 items, is one cluster"),
    ({}, {"items": MOST_ITEMS + 1}, "--items 4001: a board judges 1 to 4,000"),
    ({}, {"tasks": ("slip",)}, "there is no task 'slip': use any of slips, .* or data:FILE"),
    ({}, {"tasks": ("data-pairs-00000000.preference",)}, "names rows of a file: give that file"),
    ({}, {"tasks": ("data:missing.jsonl",)}, "there is no such file"),
    ({"long": True}, {}, "lessons are longer than family-xs reads"),
]


@pytest.mark.parametrize(("data", "options", "what"), REFUSED)
def test_what_cannot_be_played_is_refused_and_nothing_is_written(data, options, what, tmp_path):
    rows = [mill(i) if data.get("passages") else preferred(i) for i in range(40)]
    for i, row in enumerate(rows):
        cycle = data.get("splits", SPLITS)
        row["split"] = cycle[i % len(cycle)]
        if "cluster" in data:
            row["cluster"] = row["split"]
        if data.get("long"):
            row["chosen"] += " x" * 3000
    file = written(tmp_path / "pairs.jsonl", rows)
    with pytest.raises(SuperalignError, match=what):
        play_board(config(tmp_path, file, **options))
    assert data.get("long") or not (tmp_path / "ws").exists()


def test_a_broken_line_is_named_before_anything_is_written(tmp_path):
    file = written(tmp_path / "pairs.jsonl", [preferred(0), {**preferred(1), "chosen": ""}])
    with pytest.raises(BrokenLines, match="line 2: chosen"):
        play_board(config(tmp_path, file))
    assert not (tmp_path / "ws").exists()


def test_rows_to_judge_alone_are_enough_where_all_speak_and_nothing_is_fitted(tmp_path):
    rows = [mill(i) | {"split": "validation"} for i in range(6)]
    file = written(tmp_path / "only.jsonl", rows)
    with faulty.running(Talker(gives=False)) as server:
        at = faulty.at(server)
        own = config(tmp_path, file, judge=at, advisers=at, items=4, samples=2)
        play_board(own)
    assert verify(own.workspace).ok
    assert recount(own.workspace).findings == ()
    assert {e["n"] for e in events(own.workspace, "measurement") if e["name"].endswith("unaided.accuracy")} == {4}


def test_a_table_is_kept_as_json_lines_and_is_the_same_task(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [preferred(i) | {"note": None} for i in range(16)]
    plain = own_of(written(tmp_path / "pairs.jsonl", rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pairs.parquet")
    table = own_of(tmp_path / "pairs.parquet")
    assert table.task == plain.task
    assert table.lines.count(b"\n") == 16
    assert table.file != plain.file


def test_dry_run_counts_no_more_than_a_board_of_so_many_items_asks(tmp_path):
    file = mills(tmp_path, options=4)
    with faulty.running(Talker()) as server:
        at = faulty.at(server)
        own, data = with_own(config(tmp_path, file, judge=at, advisers=at, items=5, judge_by="logprob"))
        told = estimated(own, BoardSizes(items=own.items, lesson=12), data)
        assert not server.completed, "nothing is sent"
        assert not own.workspace.exists(), "nothing is written"
        play_board(own, own=data)
        assert 0 < sum(server.completed.values()) <= told.calls
    assert told.cells[0].cell.endswith(".choice: unaided")


def test_the_size_of_a_board_on_shipped_tasks(tmp_path):
    usual = {"tasks": ("traces",), "protocols": ("unaided",), "preset": "quick", "advisers": "family:s"}
    own = OversightConfig(workspace=tmp_path / "ws", items=6, **usual)
    play_board(own)
    assert recount(own.workspace).findings == ()
    (run,) = events(own.workspace, "run")
    assert (run["sizes"]["items"], run["board"]["items"]) == (6, "6")
    assert "data" not in run
    assert {e["n"] for e in events(own.workspace, "measurement") if e["name"].endswith("unaided.accuracy")} == {6}
    with pytest.raises(SuperalignError, match="--items 4000"):
        page_of("mutants", "validation", BoardSizes(items=4000))
