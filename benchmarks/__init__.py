"""dynamo-ext and its peers, measured side by side. ``scripts/bench --help`` tells how."""
