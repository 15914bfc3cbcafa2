"""Adversarial testing: organism kinds, planted harmlessly, and what the blind audit looks at."""
