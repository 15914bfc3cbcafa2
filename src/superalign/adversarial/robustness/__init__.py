"""Robustness: attacks under a named budget, and what their success, or its absence, bounds.

    target, cases = GuardedTarget(model=guard), guard_cases(40, seed=0, split="validation")     # guarded
    attempts = adaptive_search(target, cases, REWORDINGS, attempts=24, seed=0)                  # adaptive, rewordings
    attacker = Attacker(name="adaptive search", access="adaptive", attempts=24)                 # types
    lines(robustness(attempts, [attacker]))                                                     # bounds

Targets: `guarded` (a writer that refuses), `reviewed` (a reviewer that flags), `judged` (any text model, and a judge).
Attackers, weakest first: none (`types.asked`), a fixed suite and a search (`adaptive`), gradients (`suffix`, and
`whitebox` for our models). Wordings: `rewordings`, `dialect`, `transformations`, `scripts`; garak's and PyRIT's through
`extras`. `types`, `bounds` and `transformations` need no torch: rates are computed again from raw attempts anywhere.
"""
