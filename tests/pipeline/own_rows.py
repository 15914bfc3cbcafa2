"""Small files of one's own data for tests of boards: rows by number, splits in turns."""

import json

SPLITS = ("train",) * 3 + ("dev",) + ("validation",) * 3 + ("test",)


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mill(i, options=2):
    years = [str(1800 + 50 * k + i) for k in range(options)]
    return {
        "question": f"When was mill number {i} built?",
        "options": years,
        "answer": i % options,
        "context": f"Mill {i} stands on river {i * i}. Ida built it in {years[i % options]}. It burned in {1960 + i}.",
        "split": SPLITS[i % len(SPLITS)],
    }


def mills(folder, n=40, name="Mills of old.jsonl", **changes):
    return written(folder / name, [mill(i, **changes) for i in range(n)])


def preferred(i):
    right, wrong = f"return x + {i}. if x : pass .", f"x return {i} + +. pass if : x ."
    return {"prompt": f"Write line {i}.", "chosen": right, "rejected": wrong, "split": SPLITS[i % len(SPLITS)]}


def labelled(i):
    return {"text": f"word {i} of it. And more.", "label": "abc"[i % 3], "split": SPLITS[i % 8]}


def stepped(i):
    steps = {"completions": [f"{i} + 1 = {i + 1}", "so it is"], "labels": [True, i % 2 == 0]}
    return {"prompt": f"Add {i}.", **steps, "split": SPLITS[i % 8]}


def unpaired(i):
    return {"prompt": f"Say {i}.", "completion": f"it is {i}. So", "label": i % 2 == 0, "split": SPLITS[i % 8]}
