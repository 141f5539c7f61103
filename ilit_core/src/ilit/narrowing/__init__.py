"""The search space: the offer of an adapter, narrowed by plugins' rules and by the configuration."""
