"""Who acts on the hub: organisations, persons, roles, tokens, and the audit trail of what they did."""
