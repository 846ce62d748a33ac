"""Rewrite rules: one pattern, its check and its replacement per file. A failed check says why in a sentence."""
