"""Studies beside the audit, each with its own time: jobs, the raw answers they store, and the numbers that follow."""
