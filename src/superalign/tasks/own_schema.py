"""The formats of your own data, as JSON Schema: files that ship with the package, and what a row is held against.

    schema("choice")["required"]                      # ["question", "options", "answer"]
    misfit({"question": "", "options": []}, schema("choice"))   # "no 'answer': …"

Of JSON Schema the files use `required`, `properties`, `type`, `pattern`, `enum`, `items`, `minItems`, `maxItems`,
`minimum` and `maximum`, so that any validator reads them. Two things are stricter here, because JSON has neither:
numbers are finite, and texts hold no half characters. A field that is null counts as absent.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

FORMS = ("choice", "preference", "label", "unpaired", "stepwise", "mutant")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list, tuple),
    "null": (type(None),),
}
NAMES = {"string": "a text", "number": "a number", "integer": "a whole number", "boolean": "true or false"}
SHOWN = 40
"""Characters of a value in a message."""

Schema = Mapping[str, Any]


@lru_cache(maxsize=len(FORMS))
def schema(form: str) -> Schema:
    """The schema of a format. Raises ValueError for one that isn't there."""
    if form not in FORMS:
        raise ValueError(f"there is no format {form!r}: use one of {', '.join(FORMS)}")
    found = files("superalign.tasks").joinpath("schemas", f"{form}.json").read_text(encoding="utf-8")
    loaded: Schema = json.loads(found)
    return loaded


def misfit(fields: Mapping[str, Any], wanted: Schema) -> str | None:
    """Why a row doesn't fit, in one sentence that names the field, what it is and what to do; None where it does.

    >>> misfit({"text": "x"}, schema("label"))
    "no 'label': give every row text and label"
    >>> misfit({"text": " ", "label": 1}, schema("label"))
    "text is ' ', which is no text: mend or remove the row"
    """
    for name in wanted["required"]:
        if fields.get(name) is None:
            return f"no {name!r}: give every row {_listed(wanted['required'])}"
    for name, part in wanted["properties"].items():
        value = fields.get(name)
        if value is None:
            continue
        if (why := _unlike(value, part)) is not None:
            return f"{name} {why}: {part.get('do', 'mend or remove the row')}"
    return None


def _unlike(value: Any, part: Schema) -> str | None:
    """Why one value doesn't fit its part of the schema, to be read after its name."""
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    if not any(_is(value, kind) for kind in kinds):
        return f"is {shown(value)}, which is {_expected(kinds, part)}"
    if "enum" in part and value not in part["enum"]:
        return f"is {shown(value)}: it is one of {_listed([v for v in part['enum'] if v is not None], 'or')}"
    if isinstance(value, str):
        return _text(value, part)
    if isinstance(value, list | tuple):
        return _list(value, part)
    if "minimum" in part and value < part["minimum"]:
        return f"is {value}, below {part['minimum']}"
    return None


def _text(value: str, part: Schema) -> str | None:
    if "pattern" in part and not re.search(part["pattern"], value):
        return f"is {shown(value)}, which is no text"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return f"is {shown(value)} with half a character (a lone surrogate), which is no text"
    return None


def _list(value: list[Any] | tuple[Any, ...], part: Schema) -> str | None:
    if not part.get("minItems", 0) <= len(value) <= part.get("maxItems", len(value)):
        most = f" to {part['maxItems']}" if "maxItems" in part else " or more"
        return f"has {len(value)} entries, where {part['minItems']}{most} belong"
    for at, each in enumerate(value):
        if (why := _unlike(each, part["items"])) is not None:
            return f"has an entry, number {at} from 0, that {why}"
    return None


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "number" and isinstance(value, int):
        return abs(value) <= sys.float_info.max
    if isinstance(value, float):
        return math.isfinite(value) and (kind == "number" or (kind == "integer" and value.is_integer()))
    return isinstance(value, TYPES[kind])


def _expected(kinds: list[str], part: Schema) -> str:
    names = [NAMES[kind] for kind in kinds if kind in NAMES]
    if names:
        return (
            "no text" if names == ["a text"] else f"neither {_listed(names, 'nor')}" if names[1:] else f"not {names[0]}"
        )
    return "no list"


def shown(value: Any) -> str:
    """A value as a message shows it, short.

    >>> shown("x" * 50)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…'"
    """
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else value[:SHOWN] + "…")
    told = repr(value)
    return told if len(told) <= SHOWN else told[:SHOWN] + "…"


def _listed(names: list[Any], word: str = "and") -> str:
    told = [str(name) for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} {word} {told[-1]}"
