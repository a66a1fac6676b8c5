"""Every published number: what a site estimates, and what the hub makes of the sites' estimates.

Pure functions over frozen values, with numpy and scipy alone; randomness comes in as a generator.

::

    at the site                                        at the hub
    cases        aligned by id, worst score if missing  blocks       a signed block, as moments
    delong       AUROC and its covariance               validate     a refusal code, or nothing
    bootstrap    covariance of anything else            moments      the blocks as one table, models x sites
    classification, calibration, segmentation           pooling      random effects over sites
    histogram, disclosure, subgroups                    ranking      draws: P(best), rank intervals
    estimate     what may leave, ready for the wire     ties         differences, tie groups, rank ranges
                                                        curves       ROC with its guaranteed band
                                                        tables       counts that add up over sites
                                                        leaderboard  the snapshot

``rules`` says what a benchmark asks, for both. ``docs/explanation/statistics.md`` says what each number means.
"""

VERSION = "2"
"""Raised whenever a change here could change a published number; every snapshot carries it."""
