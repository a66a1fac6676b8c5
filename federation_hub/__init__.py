"""The hub: aggregates models and publishes leaderboards without ever receiving a patient record."""
