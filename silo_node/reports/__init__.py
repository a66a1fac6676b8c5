"""Local pages for a site's own people: what de-identification does, and what a cohort is made of.

They are written into ``reports/`` of the state folder, readable by their owner alone, and never leave the site.
"""
