"""A site that averages with its neighbours, where a study has no aggregator: whom it listens to, and how far."""
