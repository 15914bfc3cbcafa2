"""Answers in words, read strictly: one JSON object of the form that was asked for, or garbage of a kind.

    form = {"type": "object", "properties": {"suspicion": {"type": "integer", "minimum": 0, "maximum": 100}}}
    read = read_json(reply, form)                    # {"suspicion": 70}, or Unread(kind="not JSON")
    read_choice(reply, ("yes", "no"))                # "yes", or Unread(...)

A form is a small part of JSON Schema, in which every field is required and no other allowed; `as_schema` is what a
provider may be told. Nothing is searched for inside of an answer, nothing is mended, and a part of an answer is none:
whoever wrote what the model has read could have put it there. Blanks around, and one fence of ```json, are allowed.
Whatever else came is counted by its kind (`KINDS`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from superalign.evidence.visible import visible
from superalign.models.speaker import Reply

NOT_JSON, OTHER_FIELDS, OTHER_TYPE = "not JSON", "other fields", "another type"
OUT_OF_RANGE, TOO_LONG, EMPTY, CUT = "out of range", "too long", "empty", "cut"
NO_CHOICE, REFUSED, REFUSED_IN_WORDS, NONE = "not a choice", "refused", "refused in words", "no answer"
KINDS: Mapping[str, str] = {
    NOT_JSON: "anything but exactly one JSON object",
    OTHER_FIELDS: "a field is missing, too many, or given twice",
    OTHER_TYPE: "a field holds something of another type",
    OUT_OF_RANGE: "a number or a word that the form does not allow, or one element twice",
    TOO_LONG: "a text or a list longer than the form allows, or an answer over MOST characters",
    EMPTY: "nothing, or a text or a list shorter than the form allows",
    CUT: "the limit of tokens cut it off",
    NO_CHOICE: "anything but exactly one of the words that could be chosen",
    REFUSED: "the provider marked it as a refusal",
    REFUSED_IN_WORDS: "no answer of the form, and it begins as refusals do (OPENINGS)",
    NONE: "nothing came; where the reply says why, that is the kind: timeout, context, …",
}
"""Kind → what it says. Kinds of replies that never came are their `why`."""
MOST = 100_000
"""Characters of an answer that is read."""
OPENINGS = (
    "i can't", "i cannot", "i can not", "i won't", "i will not", "i'm sorry", "i am sorry", "sorry,", "sorry, but",
    "i'm unable", "i am unable", "i'm not able", "i am not able", "i'm not comfortable", "i am not comfortable",
    "i must decline", "i have to decline", "i decline", "i refuse", "i apologize", "i apologise", "my apologies",
    "unfortunately, i", "as an ai", "as a language model", "i don't feel comfortable", "i do not feel comfortable",
)  # fmt: skip
"""How refusals begin, in lower case. An answer of the form asked for is no refusal, however it begins."""
_FENCE = re.compile(r"```json[ \t]*\r?\n(.*)\n[ \t]*```", re.DOTALL)
_BLANKS = " \t\r\n"
_KNOWN = {
    "type", "properties", "items", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "uniqueItems", "description",
}  # fmt: skip
LARGEST = 2**53
"""Whole numbers beyond it are out of every range: as floats they would be others."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
}  # fmt: skip


class Unread(NamedTuple):
    """Stands for an answer that can't be read."""

    kind: str
    where: str = ""
    """Path of the field, for people."""


class _BreachError(ValueError):
    """Carries what is wrong out of a walk through an answer."""

    def __init__(self, kind: str, where: str = "") -> None:
        super().__init__(kind, where)
        self.found = Unread(kind, where)


def read_json(reply: Reply, form: Mapping[str, Any]) -> dict[str, Any] | Unread:
    """The object that a reply holds, checked against the form; else what it is instead.

    A reply that was cut off is "cut", even where what is left of it could be read. Raises ValueError for a form that
    uses other words of JSON Schema than this reads.
    """
    if (other := unanswered(reply)) is not None:
        return other
    found = Unread(CUT) if reply.kind == "cut" else parsed(reply.text, form)
    lost = isinstance(found, Unread) and found.kind in (CUT, NOT_JSON)
    return Unread(REFUSED_IN_WORDS) if lost and refuses(reply.text) else found


def read_choice(reply: Reply, choices: Sequence[str]) -> str | Unread:
    """The one of `choices` that a reply says and nothing else, but for blanks around and a full stop behind.

    What was cut off behind the limit of tokens is not asked for: a choice is a word, and a longer answer is none.

    >>> read_choice(Reply(kind="answer", text=" A.\\n"), "AB"), read_choice(Reply(kind="answer", text="A or B"), "AB")
    ('A', Unread(kind='not a choice', where=''))
    """
    if (other := unanswered(reply)) is not None:
        return other
    words, text = tuple(choices), reply.text.strip(_BLANKS)  # of a string, its letters: "AB" is none of them
    said = text if text in words else text.removesuffix(".")
    if said in words and reply.kind == "answer":
        return said
    if refuses(text):
        return Unread(REFUSED_IN_WORDS)
    return Unread(CUT if reply.kind == "cut" else NO_CHOICE)


def unanswered(reply: Reply) -> Unread | None:
    """What a reply is that holds no words at all: refused, none (its `why`), empty. None for any other."""
    if reply.kind == "refused":
        return Unread(REFUSED)
    if reply.kind == "none":
        return Unread(visible(reply.why).replace("\n", " ").strip()[:60] or NONE)
    if not reply.text.strip(_BLANKS):
        return Unread(CUT if reply.kind == "cut" else EMPTY)
    return None


def refuses(text: str) -> bool:
    """Does a text begin as refusals do?

    >>> refuses("I’m sorry, but no."), refuses("I can read")
    (True, False)
    """
    start = text.lstrip("\ufeff*_#>\"'` \t\r\n")[:80].replace("’", "'").casefold()
    return start.startswith(OPENINGS)


def parsed(text: str, form: Mapping[str, Any]) -> dict[str, Any] | Unread:
    """The one JSON object that a text is, checked against the form.

    >>> parsed('{"n": 7}', {"type": "object", "properties": {"n": {"type": "integer", "maximum": 3}}})
    Unread(kind='out of range', where='n')
    """
    if len(text) > MOST:
        return Unread(TOO_LONG)
    bare = text.strip(_BLANKS)
    fence = _FENCE.fullmatch(bare)
    try:
        found = json.loads(fence[1] if fence else bare, object_pairs_hook=_once, parse_constant=_no_constant)
    except _BreachError as breach:
        return breach.found
    except (ValueError, RecursionError):  # digits by the thousand and brackets by the thousand are no answer either
        return Unread(NOT_JSON)
    if not isinstance(found, dict):
        return Unread(NOT_JSON)
    try:
        _check(found, form, "")
    except _BreachError as breach:
        return breach.found
    return found


def as_schema(form: Mapping[str, Any]) -> str:
    """A form as JSON, every object closed and every field required, in the form's order: what `Ask.schema` takes.

    >>> as_schema({"type": "object", "properties": {}})
    '{"type": "object", "properties": {}, "required": [], "additionalProperties": false}'
    """
    return json.dumps(_closed(form))


def _closed(form: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(form)
    if form["type"] == "object":
        inside = form.get("properties", {})
        out |= {"properties": {name: _closed(each) for name, each in inside.items()}}
        out |= {"required": list(inside), "additionalProperties": False}
    if "items" in form:
        out["items"] = _closed(form["items"])
    return out


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise _BreachError(OTHER_FIELDS)
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise _BreachError(NOT_JSON)


def _check(value: Any, form: Mapping[str, Any], where: str) -> None:
    """Walk through an answer; the first breach ends it."""
    if unknown := set(form) - _KNOWN:
        raise ValueError(f"a form says {', '.join(sorted(unknown))}: it may say {', '.join(sorted(_KNOWN))}")
    if not isinstance(value, _TYPES[form["type"]]) or isinstance(value, bool):
        raise _BreachError(OTHER_TYPE, where)
    if "enum" in form and value not in form["enum"]:
        raise _BreachError(OUT_OF_RANGE, where)
    if isinstance(value, dict):
        inside = form.get("properties", {})
        if set(value) != set(inside):
            raise _BreachError(OTHER_FIELDS, where)
        for name, each in inside.items():
            _check(value[name], each, f"{where}.{name}".lstrip("."))
    elif isinstance(value, list):
        _long(len(value), form.get("minItems", 0), form.get("maxItems", math.inf), where)
        for place, part in enumerate(value):
            _check(part, form["items"], f"{where}[{place}]")
        if form.get("uniqueItems") and any(part in value[:place] for place, part in enumerate(value)):
            raise _BreachError(OUT_OF_RANGE, where)
    elif isinstance(value, str):
        _text(value, form, where)
    elif not max(form.get("minimum", -math.inf), -LARGEST) <= value <= min(form.get("maximum", math.inf), LARGEST):
        raise _BreachError(OUT_OF_RANGE, where)


def _text(value: str, form: Mapping[str, Any], where: str) -> None:
    if any("\ud800" <= char <= "\udfff" for char in value):  # half a character: no text, and no file takes it
        raise _BreachError(NOT_JSON, where)
    _long(len(value.strip()), form.get("minLength", 0), math.inf, where)
    _long(len(value), 0, form.get("maxLength", math.inf), where)


def _long(size: int, least: float, most: float, where: str) -> None:
    if size < least:
        raise _BreachError(EMPTY, where)
    if size > most:
        raise _BreachError(TOO_LONG, where)
