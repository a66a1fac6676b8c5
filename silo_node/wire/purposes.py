"""What a request says it is for, and on what ground: codes, so that a site's policy can decide without a reader."""

from typing import Literal

Purpose = Literal["benchmarking", "research", "quality-assurance", "product-development"]
"""What the results may be used for."""

LegalBasis = Literal["consent", "public-interest", "scientific-research", "legitimate-interest", "not-personal-data"]
"""The ground the asking side names for the processing (GDPR Art. 6 and 9), for the site to accept or not."""
