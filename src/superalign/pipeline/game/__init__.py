"""The stress test as a game: organisms, twins and decoys of reviewer and writer, sealed, and checks as auditors."""
