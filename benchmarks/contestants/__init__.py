"""One module for each way to DynamoDB that is measured.

A module has ``connect(url, stack, *, models, ...)``: a coroutine function for those of an event
loop, a function for those of Flask. It returns :class:`~benchmarks.contestants.calls.Calls`. A
peer's own modules are imported by name, because only its own environment has them.
"""
