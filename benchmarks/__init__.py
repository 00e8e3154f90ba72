"""Measures dynamo-ext and its peers side by side. See ``scripts/bench --help``."""
