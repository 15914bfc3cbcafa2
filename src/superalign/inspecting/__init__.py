"""superalign inside Inspect: models, tasks, scorers, monitors, a sandbox, and logs as evidence. Needs `[inspect]`."""
