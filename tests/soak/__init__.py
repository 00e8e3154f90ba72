"""Two apps on one engine, behind a proxy that breaks things: ``scripts/soak --help``."""
