"""One module for each way to DynamoDB that is measured.

A module has ``connect(url, stack, *, count, ...)``: a coroutine function for a contestant on an
event loop, a function for one in threads. It returns :class:`~benchmarks.contestants.calls.Calls`.
One that works within an app has ``install(app, url, ...)``, too, for :mod:`benchmarks.apps`. A
module imports its peer's packages by name, because only the peer's environment has them.
"""
