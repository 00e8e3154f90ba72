"""What a request needs around its models."""
