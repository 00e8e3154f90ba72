"""gunicorn's settings for the Flask app, in the example and in production."""

from __future__ import annotations

from .config import DYNAMODB_CALL_TIMEOUT_SECONDS

wsgi_app = "examples.mixed.web:create_app()"
workers = 2
worker_class = "gthread"
# No more than DYNAMODB_MAX_POOL_CONNECTIONS, by default 10: otherwise requests wait for each other.
threads = 8
# A request under way at the end may take as long as a call.
graceful_timeout = DYNAMODB_CALL_TIMEOUT_SECONDS + 2
loglevel = "warning"
# Its path is the same for all deployments of one user.
control_socket_disable = True
