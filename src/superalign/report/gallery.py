"""The gallery: failures with the real code, the alteration and the model's pointer marked in it."""

from __future__ import annotations

from collections.abc import Sequence

from superalign.report.html import Html, cite, model_name, named, nothing, tag, together
from superalign.report.text import clip
from superalign.report.views import Specimen


def gallery_section(gallery: Sequence[Specimen]) -> Html:
    """Every specimen, or the sentence that there is none."""
    parts = [tag("h2", "Failures, with the code", id="gallery")]
    if not gallery:
        parts.append(nothing("no gallery figure: no failure was kept for reading"))
        return tag("section", *parts, aria_labelledby="gallery")
    legend = together(
        tag("mark", "orange ground", class_="place"), ": where the code was altered. ",
        tag("mark", "dashed blue frame", class_="pointed"), ": where the model pointed. "
        "Characters that can't be seen are spelled out, as ⟨U+202E⟩.",
    )  # fmt: skip
    parts.append(tag("p", "Real code as the model was shown it. ", legend))
    parts += [_specimen(i, s) for i, s in enumerate(gallery, 1)]
    return tag("section", *parts, aria_labelledby="gallery")


def _specimen(index: int, one: Specimen) -> Html:
    rows = (
        ("Truth", together(named(one.truth), f" (kind: {one.kind})" if one.kind and one.kind not in one.truth else "")),
        ("The model said", named(one.verdict)),
        ("Why it is here", named(one.why)),
        ("It pointed", _hit(one)),
        ("It would write there", "no repair" if one.repair is None else tag("code", named(one.repair or "(nothing)"))),
        ("Model", model_name(one.subject)),
    )
    pairs = [part for name, value in rows for part in (tag("dt", name), tag("dd", value))]
    return tag(
        "article",
        tag("h3", f"{index}. ", named(one.title or one.id or "untitled"), " ", cite(one.seq)),
        tag("div", *_codes(one), class_="sides"),
        tag("dl", *pairs, class_="kv"),
        class_="specimen",
    )


def _codes(one: Specimen) -> list[Html]:
    """The original and what was shown, side by side."""
    shown = tag("pre", tag("code", marked(one.shown, one.place, one.pointed)), tabindex=0)
    if not one.source:
        return [tag("figure", tag("figcaption", "As shown"), shown)]
    original = tag("pre", tag("code", one.source), tabindex=0)
    return [
        tag("figure", tag("figcaption", "Before: the original"), original),
        tag("figure", tag("figcaption", "After: as the model was shown it"), shown),
    ]


def _hit(one: Specimen) -> str:
    if one.pointed is None:
        return "nowhere"
    if one.place is None:
        return "somewhere; the place of the alteration is not on record"
    apart = one.pointed[1] < one.place[0] or one.place[1] < one.pointed[0]
    return "elsewhere" if apart else "at the alteration"


def marked(code: str, place: tuple[int, int] | None, pointed: tuple[int, int] | None) -> Html:
    """The code with both spans marked; offsets count its characters before anything is spelled out.

    >>> marked("a<b", (1, 2), None)
    'a<mark class="place"><span class="vh">[altered: </span>&lt;<span class="vh">]</span></mark>b'
    """
    spans = [(span, look) for span, look in ((place, "place"), (pointed, "pointed")) if span]
    cuts = sorted({0, len(code), *(min(end, len(code)) for span, _ in spans for end in span)})
    empty = {span[0]: look for span, look in spans if span[0] == span[1]}
    out: list[object] = []
    for start, end in zip(cuts, [*cuts[1:], len(code)], strict=True):
        if start in empty:
            out.append(_mark("‸", [empty[start]]))
        looks = [look for span, look in spans if span[0] <= start and end <= span[1] and start < end]
        out.append(_mark(code[start:end], looks) if looks else code[start:end])
    return together(*out)


def _mark(text: str, looks: list[str]) -> Html:
    said = {"place": "altered", "pointed": "pointed at"}
    before = tag("span", f"[{' and '.join(said[look] for look in looks)}: ", class_="vh")
    return tag("mark", before, text, tag("span", "]", class_="vh"), class_=" ".join(looks))


def excerpt(one: Specimen, limit: int = 60) -> str:
    """The altered place in a few words."""
    return clip(one.shown[slice(*one.place)], limit) if one.place else ""
