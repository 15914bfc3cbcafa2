"""What asking through superalign costs over bare calls: the same requests, concurrency and server.

    python benchmarks/remote_calls.py --calls 400 --concurrency 16 --rounds 3 [--json]

A server process serves family:xs (`superalign.models.serving`). Each round asks it the same number of new requests by
five ways, in an order that turns from round to round: a bare httpx loop, our `http:` path, the same with every reply
kept (stored and indexed, on the disk before it is handed back), a bare loop over Inspect's `generate`, and our
`inspect:` path, kept too. The table shows the fastest round of each, its ratio to the bare httpx loop, and the
processor time of this process per call. Needs `[local,inspect]`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from superalign.models.remote import Terms
from superalign.models.speaker import Ask, Turn
from superalign.models.speakers import speaker_at

TOKENS = 16
PROMPT = "def {name}(values, limit):\n    total = 0\n    for value in values:\n        if value > limit:\n"


def asks(calls: int, start: int) -> list[Ask]:
    """Requests that nobody asked before: each names another function."""
    return [
        Ask(messages=(Turn("user", PROMPT.format(name=f"sum_{i}")),), tokens=TOKENS, alternatives=2)
        for i in range(start, start + calls)
    ]


def bare(address: str, listed: Sequence[Ask], concurrency: int) -> None:
    """One httpx client, so many workers, each answer's JSON read and thrown away."""
    import httpx

    url, _, model = address.partition("#")

    async def run() -> None:
        left = list(listed)
        async with httpx.AsyncClient(timeout=120) as client:

            async def work() -> None:
                while left:
                    ask = left.pop()
                    body = {
                        "model": model,
                        "messages": [{"role": turn.role, "content": turn.content} for turn in ask.messages],
                        "max_tokens": ask.tokens,
                        "temperature": ask.temperature,
                        "seed": ask.seed,
                        "logprobs": True,
                        "top_logprobs": ask.alternatives,
                    }
                    reply = await client.post(f"{url}/chat/completions", json=body)
                    if not reply.json()["choices"][0]["message"]["content"]:
                        raise SystemExit("the server gave an empty answer")

            await asyncio.gather(*(work() for _ in range(concurrency)))

    asyncio.run(run())


def bare_inspect(name: str, listed: Sequence[Ask], concurrency: int) -> None:
    """One Model of Inspect, so many workers, each output thrown away."""
    from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model

    async def run() -> None:
        left, model = list(listed), get_model(name, memoize=False)

        async def work() -> None:
            while left:
                ask = left.pop()
                config = GenerateConfig(
                    max_tokens=ask.tokens,
                    temperature=ask.temperature,
                    seed=ask.seed,
                    logprobs=True,
                    top_logprobs=ask.alternatives,
                    max_connections=concurrency,
                    adaptive_connections=False,
                )
                output = await model.generate([ChatMessageUser(content=ask.messages[0].content)], config=config)
                if not output.completion:
                    raise SystemExit("the server gave an empty answer")

        await asyncio.gather(*(work() for _ in range(concurrency)))
        await model.api.aclose()

    asyncio.run(run())


def ours(address: str, listed: Sequence[Ask], concurrency: int, kept: Path | None) -> None:
    """The same through a speaker."""
    speaker = speaker_at(address, terms=Terms(concurrency=concurrency, kept=kept))
    replies = speaker.ask(listed)
    if any(not reply.text for reply in replies):
        raise SystemExit(f"not every request was answered: {speaker.tally()}")  # type: ignore[attr-defined]
    speaker.close()  # type: ignore[attr-defined]


def measured(
    address: str, calls: int, concurrency: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each round of each way; and of this process's processor time."""
    os.environ["BENCH_API_KEY"], os.environ["BENCH_BASE_URL"] = "none", address.partition("#")[0]
    inspected = f"inspect:openai-api/bench/{address.partition('#')[2]}"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ways: dict[str, Callable[[list[Ask], int], None]] = {
            "bare httpx": lambda listed, i: bare(address, listed, concurrency),
            "http:": lambda listed, i: ours(address, listed, concurrency, None),
            "http:, kept": lambda listed, i: ours(address, listed, concurrency, place / f"http{i}"),
            "bare Inspect": lambda listed, i: bare_inspect(inspected.removeprefix("inspect:"), listed, concurrency),
            "inspect:, kept": lambda listed, i: ours(inspected, listed, concurrency, place / f"inspect{i}"),
        }
        start = 0
        for way in ways.values():  # imports, connections and the model's first batch are nobody's cost
            way(asks(concurrency, start), -1)
            start += concurrency
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        busy: dict[str, list[float]] = {name: [] for name in ways}
        names = list(ways)
        for i in range(rounds):
            for name in names[i % len(names) :] + names[: i % len(names)]:
                listed = asks(calls, start)
                start += calls
                began, cpu = time.perf_counter(), time.process_time()
                ways[name](listed, i)
                busy[name].append(time.process_time() - cpu)
                seconds[name].append(time.perf_counter() - began)
    return seconds, busy


def main() -> None:
    """Start a server, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="family:xs")
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    command = [sys.executable, "-m", "superalign.models.serving", told.model, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            seconds, busy = measured(address, told.calls, told.concurrency, told.rounds)
        finally:
            server.terminate()
    least = {name: min(each) for name, each in seconds.items()}
    ratios = {name: each / least["bare httpx"] for name, each in least.items()}
    if told.json:
        print(
            json.dumps(
                {"calls": told.calls, "concurrency": told.concurrency, "seconds": seconds, "cpu": busy, "ratio": ratios}
            )
        )
        return
    print(f"{told.calls} calls of {TOKENS} tokens, {told.concurrency} at once, {told.model}, fastest of {told.rounds}")
    for name, each in least.items():
        cpu = 1000 * min(busy[name]) / told.calls
        print(
            f"{name:16} {each:8.2f} s {told.calls / each:8.1f} calls/s   ratio {ratios[name]:.2f}   {cpu:.2f} ms/call"
        )


if __name__ == "__main__":
    main()
