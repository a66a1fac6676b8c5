"""Questions about cohorts before a study is planned: asked of every silo, answered within its limits, pooled here."""
