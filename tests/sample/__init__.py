"""A project with a suite that uses the plugin. ``test_testing_plugin.py`` runs it."""

from __future__ import annotations
