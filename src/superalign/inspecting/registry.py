"""What Inspect finds by the entry point `inspect_ai`."""
