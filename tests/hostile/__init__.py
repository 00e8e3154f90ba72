"""A DynamoDB that breaks the rules of HTTP, and callers that check what they get from it.

``python -m hostile`` makes calls, see its ``--help``; ``python -m hostile.server`` is the server.
"""
