"""superalign inside Inspect: models, tasks, scorers, monitors, a sandbox, and logs as evidence. Needs `[inspect]`.

    inspect eval superalign/debate --model superalign/family:s --model-role judge=superalign/family:xs
    inspect eval my_task.py --model superalign/hf:/models/small --sandbox bwrap
    superalign inspect import LOG.eval --workspace W --role validation

Inspect finds `registry` by its entry point. Nothing here is imported by any other room, and Inspect's public names only
are used here. Its facts and traps: an Inspect model is known by its name alone, so ours carry the weights' digest.
"""
