"""The settings that the apps share."""

from __future__ import annotations

import os

DYNAMODB_HOST = os.environ["HOST"]
DYNAMODB_REGION = "us-east-1"
DYNAMODB_AWS_ACCESS_KEY_ID = "AKIDOFTHETESTS"
DYNAMODB_AWS_SECRET_ACCESS_KEY = "secret-of-the-tests"
DYNAMODB_TABLE_NAME_PREFIX = os.environ.get("TABLE_NAME_PREFIX", "")
DYNAMODB_MAX_POOL_CONNECTIONS = 3
DYNAMODB_READ_TIMEOUT_SECONDS = float(os.environ.get("READ_TIMEOUT_SECONDS", 30))
DYNAMODB_TRANSPORT = os.environ.get("DYNAMO_EXT_TEST_TRANSPORT", "botocore")
DYNAMODB_BLOCKING_CALLS = os.environ.get("BLOCKING_CALLS")
DYNAMODB_RECORD_CALLS = os.environ.get("RECORD_CALLS") == "1" or None
