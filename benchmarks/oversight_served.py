"""A board over a faulty server, killed and resumed: `python benchmarks/oversight_served.py [--episodes N] [--json]`.

A chat model is trained in seconds to answer what boards ask, in the form that they ask for (a Mistral of some 60
thousand weights whose attention reaches 64 tokens: readable answers, worthless beliefs), and served by a process of its
own over the chat-completions protocol.

1. With faults (429 with and without Retry-After, 500, slow answers, connections dropped before and in an answer, broken
   JSON, empty ones) the board of N protocol episodes is played by a process that is killed with SIGKILL, KILLS times at
   random moments, and started again. Asserted: every episode of the plan is stored, with a verdict or a failure of its
   kind; whatever the index of replies held at a kill is never completed again by the server (its journal); level 2
   finds nothing; the page of failures is printed by kind.
2. Without faults: the time of the board, and of the same requests sent bare at the same concurrency (http.client,
   kept alive, nothing checked, nothing kept), the fastest of REPEATS each, in turns. The ratio.

Timed is `play_board` as a whole: seating, the estimate, play, durable keeping, scoring.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from oversight_served_model import body_of, train

from superalign.evidence import Workspace, verify
from superalign.models.remote.keeping import PAID
from superalign.models.serving import ask_of
from superalign.models.speaker import Ask, Turn
from superalign.pipeline import board as board_module
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_curves import cells_in_all
from superalign.pipeline.board_scores import chosen_protocols
from superalign.pipeline.recount import recount

SERVER = Path(__file__).parent.parent / "tests" / "models" / "faulty_server.py"
FAULTS = {
    "429": 0.04, "retry": 0.02, "500": 0.04, "slow": 0.04, "drop": 0.02, "torn": 0.02, "broken": 0.02, "empty": 0.01,
}  # fmt: skip
PROTOCOLS = ("debate", "consultancy")
PLAYS = 7
"""Of an item with one seed: unaided, deference, ensemble, two seatings of a debate and two of a consultancy."""


def seeds_for(episodes: int) -> int:
    """Seeds of that board."""
    return 2 if episodes > PLAYS * 12 else 1


def sizes_for(episodes: int) -> BoardSizes:
    """The sizes of a board of at least so many episodes; calibration needs ten items."""
    items = max(12, -(-episodes // (PLAYS * seeds_for(episodes))))
    return BoardSizes(items=items, lesson=16, games=6, judge_steps=2, adviser_steps=2)


def config_of(workspace: Path, address: str, concurrency: int, episodes: int) -> OversightConfig:
    return OversightConfig(
        workspace=workspace, preset="quick", tasks=("traces",), protocols=PROTOCOLS, seeds=seeds_for(episodes),
        judge=address, advisers=address, judge_by="logprob", concurrency=concurrency, timeout=20.0, retries=12,
        price=(1.0, 2.0),
    )  # fmt: skip


def played(workspace: Path, address: str, concurrency: int, episodes: int) -> float:
    """Play the board here; seconds."""
    board_module.board_sizes = lambda preset: sizes_for(episodes)
    began = time.perf_counter()
    board_module.play_board(config_of(workspace, address, concurrency, episodes))
    return time.perf_counter() - began


# --- the server


@contextmanager
def served(model: Path, journal: Path, faults: dict[str, float], seed: int):  # type: ignore[no-untyped-def]
    """The server in a process of its own; yields its address."""
    rates = [f"{kind}={rate}" for kind, rate in faults.items()]
    command = [sys.executable, str(SERVER), f"hf:{model}", "--journal", str(journal), "--seed", str(seed)]
    command += ["--slow", "0.5", "--after", "0.2", *(("--faults", *rates) if rates else ())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            yield f"{told['url']}#{told['model']}"
        finally:
            server.terminate()


def completed(journal: Path) -> list[str]:
    """What the server completed, in order."""
    return journal.read_text().split() if journal.exists() else []


def asks_kept(workspace: Path) -> list[Ask]:
    """The requests whose replies an index holds."""
    import sqlite3

    if not (workspace / "replies.sqlite").exists():
        return []
    marks = ",".join("?" * len(PAID))
    with sqlite3.connect(workspace / "replies.sqlite") as db:
        found = db.execute(
            f"SELECT asked FROM call WHERE kind IN ({marks}) GROUP BY key ORDER BY MIN(id)", PAID
        ).fetchall()
    db.close()
    told = [json.loads(row) for (row,) in found]
    return [
        Ask(**{**each, "messages": tuple(Turn(*turn) for turn in each["messages"]), "stop": tuple(each["stop"])})
        for each in told
    ]


# --- the two parts


def killed_and_resumed(
    model: Path, folder: Path, episodes: int, kills: int, concurrency: int, seed: int
) -> dict[str, Any]:
    """Part 1. Raises AssertionError for whatever is lost or asked again."""
    rng = random.Random(seed)
    journal, workspace = folder / "journal", folder / "faulty"
    env = os.environ | {"SUPERALIGN_KEYS": str(folder / "keys"), "OMP_NUM_THREADS": "1"}
    kept_at: list[tuple[int, set[str]]] = []
    with served(model, journal, FAULTS, seed) as address:
        command = [sys.executable, __file__, "--play", str(workspace), address, str(concurrency), str(episodes)]
        while True:
            with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as player:
                if len(kept_at) < kills:
                    _kill_later(
                        player, journal, rng, calls=36 * seeds_for(episodes) * sizes_for(episodes).items // (kills + 2)
                    )
                else:
                    assert player.wait() == 0, "the last run finishes"
            # everything that the index holds, and how far the journal is: what is in both may never come again
            kept_at.append((len(completed(journal)), {ask_of(body_of(ask)).key("") for ask in asks_kept(workspace)}))
            if player.returncode == 0:
                break
            assert player.returncode == -signal.SIGKILL, player.returncode
    lines = completed(journal)
    again = sum(line in kept for at, kept in kept_at for line in lines[at:])
    assert again == 0, f"{again} requests were answered once more after their reply was kept"
    os.environ["SUPERALIGN_KEYS"] = str(folder / "keys")
    plays, verdicts, failures = _accounted(workspace, episodes)
    assert verify(workspace).ok
    counted = recount(workspace)
    assert counted.findings == (), counted.findings[:2]
    return {
        "episodes": plays,
        "verdicts": verdicts,
        "failures": dict(failures.most_common()),
        "kills": len(kept_at) - 1,
        "completed by the server": len(lines),
        "different": len(set(lines)),
        "completed twice, the first one lost with a killed process or on the way": len(lines) - len(set(lines)),
        "asked again that was kept": again,
        "facts that follow at level 2": counted.followed,
    }


def _kill_later(player: subprocess.Popen[bytes], journal: Path, rng: random.Random, *, calls: int) -> None:
    """Kill it once the server has completed a random number of further requests, or let it end."""
    goal = len(completed(journal)) + rng.randint(1, max(2, 2 * calls))
    while player.poll() is None and len(completed(journal)) < goal:
        time.sleep(0.02)
    if player.poll() is None:
        time.sleep(rng.random() * 0.1)
        player.kill()
    player.wait()


def _accounted(workspace: Path, episodes: int) -> tuple[int, int, Counter[str]]:
    """Plays, those with a verdict, failures by kind. Raises AssertionError where a play of the plan is missing."""
    sizes = sizes_for(episodes)
    with Workspace.open(workspace, create=False, write=False) as ws:
        stages = {e.body["stage"]: e.body["result"] for e in ws.ledger.events("stage")}
        config = settled(config_of(workspace, "http://127.0.0.1:1/v1#m", 1, episodes))
        found = []
        for task, cell, seed in cells_in_all(config, chosen_protocols(config)):
            stored = ws.store.get_json(stages[f"{task}: {cell.name}, seed {seed}"])
            cells = ws.store.get_json(stored["episodes"])["episodes"]
            assert len({(e["item"], tuple(e["sides"])) for e in cells}) == len(cells)
            assert len(cells) == sizes.items * len(cell.protocol.seatings(2))
            found += cells
    assert all(e["belief"] is not None or e["failures"] for e in found), "a verdict, or why there is none"
    verdicts = sum(e["belief"] is not None for e in found)
    return len(found), verdicts, Counter(kind for e in found for kind in e["failures"])


def bare(asks: list[Ask], address: str, concurrency: int) -> float:
    """The same requests, sent as fast as they go at that concurrency; seconds."""
    url, _, model = address.partition("#")
    parts = urlsplit(url)
    todo, lock = deque(asks), Lock()

    def work() -> None:
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        while True:
            with lock:
                if not todo:
                    return connection.close()
                ask = todo.popleft()
            head = {"Content-Type": "application/json"}
            connection.request("POST", parts.path + "/chat/completions", json.dumps(body_of(ask, model)), head)
            response = connection.getresponse()
            assert response.status == 200, response.status
            json.loads(response.read())

    began = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        for done in [pool.submit(work) for _ in range(concurrency)]:
            done.result()
    return time.perf_counter() - began


def against_bare(model: Path, folder: Path, episodes: int, concurrency: int, repeats: int) -> dict[str, Any]:
    """Part 2: seconds of the board and of the bare requests."""
    os.environ["SUPERALIGN_KEYS"] = str(folder / "keys")
    ours, theirs, asks = [], [], []
    with served(model, folder / "clean", {}, 0) as address:
        for k in range(repeats):
            workspace = folder / f"clean {k}"
            ours.append(played(workspace, address, concurrency, episodes))
            asks = asks_kept(workspace)
            theirs.append(bare(asks, address, concurrency))
    return {
        "requests": len(asks), "concurrency": concurrency, "board, seconds": round(min(ours), 2),
        "bare, seconds": round(min(theirs), 2), "ratio": round(min(ours) / min(theirs), 3),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--episodes", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("faults", "time"), help="one of the two parts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--play", nargs=4, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.play:
        workspace, address, concurrency, episodes = told.play
        played(Path(workspace), address, int(concurrency), int(episodes))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        train(folder / "model", config_of(Path("none"), "http://127.0.0.1:1/v1#m", 1, 1))
        found: dict[str, Any] = {"trained in seconds": round(time.perf_counter() - began, 1)}
        if told.only != "time":
            print("1. faults and kills", file=sys.stderr, flush=True)
            found |= killed_and_resumed(
                folder / "model", folder, told.episodes, told.kills, told.concurrency, told.seed
            )
        if told.only != "faults":
            print("2. against the bare requests", file=sys.stderr, flush=True)
            found |= against_bare(folder / "model", folder, told.episodes, told.concurrency, told.repeats)
        found["load of the machine"] = round(os.getloadavg()[0], 2)
    print(json.dumps(found) if told.json else "\n".join(f"{key}: {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
