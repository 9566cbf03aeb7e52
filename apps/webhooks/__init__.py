"""The door for alerts: a user's endpoints, the durable intake, the reading of messages."""
