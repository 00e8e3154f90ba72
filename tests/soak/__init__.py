"""A soak test: two apps on one engine, behind a proxy that injects faults. See ``scripts/soak``."""
