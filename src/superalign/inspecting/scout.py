"""superalign's monitors as scanners of Inspect Scout: any transcript, live or from a log. Needs `inspect-scout`.

    from superalign.inspecting.scout import suspicion
    scan(scanners=[suspicion(kind="actions")], transcripts=transcripts_from("logs"))

A result's value holds `suspicion` (None where a step has no score), `flagged` and `missing`: a transcript that the
monitor could not score is flagged, and never 0. Inspect's own entry point does not load this: import it where you scan.
"""

from __future__ import annotations

from inspect_scout import Result, Scanner, Transcript, scanner

from superalign.inspecting.monitors import THRESHOLD, monitor_of, steps_in, verdict_of


@scanner(messages="all")
def suspicion(
    kind: str = "static", address: str = "", denied: str = "", threshold: float | None = None
) -> Scanner[Transcript]:
    """A monitor over all that a transcript's model said; options as of the scorer `superalign/monitor`."""
    watching = monitor_of(kind, address=address, denied=[name.strip() for name in denied.split(",") if name.strip()])
    bound = THRESHOLD[kind] if threshold is None else threshold

    async def scan(transcript: Transcript) -> Result:
        import anyio.to_thread

        steps = steps_in(transcript.messages, trajectory=transcript.transcript_id)
        found = await anyio.to_thread.run_sync(watching.score, steps)
        return Result(
            value=verdict_of(found, bound),
            explanation="; ".join(each.evidence for each in found if each.evidence) or None,
            metadata={"steps": [each.score for each in found], "monitor": watching.digest, "threshold": bound},
        )

    return scan
