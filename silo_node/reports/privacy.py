"""The de-identification report: what the profile is, what came in under it, what was refused, what was searched.

Everything in it is a count, a code or a sentence of the profile, so the report itself can be shown to anybody at the
site.
"""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from silo_node import __version__
from silo_node.catalogue import Catalogue
from silo_node.deidentify.known import KnownIdentifiers
from silo_node.deidentify.profile import OPTIONS, PROFILE, kept_attributes
from silo_node.deidentify.written import WrittenCheck, outside_files
from silo_node.intake.objects.index import ObjectIndex
from silo_node.policy import load_policy
from silo_node.reports.page import page, paragraph, section, signature, table
from silo_node.state import Home
from silo_node.wire.errors import PROBLEMS


@dataclass(frozen=True)
class Searched:
    """What a search of everything outside the private store came to."""

    files: int
    size: int
    findings: tuple[str, ...]
    """Files that hold a text of a source, relative to the state folder."""


@dataclass(frozen=True)
class PrivacyReport:
    """The report's facts, as its JSON gives them."""

    profile: str
    software: str
    made: str
    site_key: bool
    """Whether ``private/site.key`` is there and readable by its owner alone."""

    objects: int
    cases: int
    patients: int
    modalities: dict[str, int]
    refused: dict[str, int]
    pixel_risks_refused: dict[str, int]
    pixel_risks_allowed: tuple[str, ...]
    """What the policy lets through."""

    pixel_risks_let_through: dict[str, int]
    searched: Searched

    def document(self) -> dict[str, Any]:
        """Return the facts with the profile's options and kept attributes, for ``privacy.json``."""
        return {
            **asdict(self),
            "options": [asdict(option) for option in OPTIONS],
            "kept_attributes": {name: list(values) for name, values in kept_attributes().items()},
        }


def privacy_report(home: Home, *, now: datetime) -> PrivacyReport:
    """Gather a site's report; everything outside the private store is searched on the way."""
    with Catalogue(home.create().catalogue) as catalogue:
        cases, quarantined = catalogue.cases(), catalogue.quarantine()
    with KnownIdentifiers(home) as known:
        let_through = known.risks()
    with ObjectIndex(home) as index:
        _, objects, _ = index.count()
    return PrivacyReport(
        profile=PROFILE,
        software=f"silo-node {__version__}",
        made=f"{now.day} {now:%B %Y}",
        site_key=home.site_key_file.exists() and home.site_key_file.stat().st_mode & 0o077 == 0,
        objects=objects,
        cases=len(cases),
        patients=len({case.patient for case in cases}),
        modalities=dict(sorted(Counter(case.modality or "not told" for case in cases).items())),
        refused=dict(sorted(Counter(row.code for row in quarantined).items())),
        pixel_risks_refused=dict(sorted(Counter(risk for row in quarantined for risk in row.reasons).items())),
        pixel_risks_allowed=tuple(sorted(load_policy(home).intake.allow_pixel_risks)),
        pixel_risks_let_through=dict(sorted(let_through.items())),
        searched=search_outside(home),
    )


def search_outside(home: Home) -> Searched:
    """Search every file outside the private store for the identifiers of every case."""
    check = WrittenCheck(home)
    files = list(outside_files(home))
    findings = [path.relative_to(home.path).as_posix() for path in files if check.finds(path)]
    return Searched(len(files), sum(path.stat().st_size for path in files), tuple(findings))


def privacy_page(report: PrivacyReport) -> str:
    """Return the report as a page to print and sign."""
    lead = f"{report.profile}, {report.software}, {report.made}"
    return page("De-identification report", lead, [_summary(report), *_profile(), *_flags(report), _end(report)])


def _summary(report: PrivacyReport) -> str:
    rows = [
        ("DICOM objects in the private store", report.objects),
        ("De-identified cases", report.cases),
        ("Patients", report.patients),
        *((f"Cases of modality {name}", count) for name, count in report.modalities.items()),
    ]
    key = "The site's key is there and readable by its owner alone." if report.site_key else "There is no site key."
    return section("What is here", table(("", "count"), rows), paragraph(key, "" if report.site_key else "warning"))


def _profile() -> list[str]:
    options = [(option.code, option.meaning, option.arrays, option.files, option.how) for option in OPTIONS]
    kept = [(name, ", ".join(values)) for name, values in kept_attributes().items()]
    return [
        section(
            "The profile",
            paragraph(
                "Options of DICOM PS3.15 Annex E, by their codes. Models see arrays; files exist only where a site"
                " exports them."
            ),
            table(("code", "option", "arrays", "files", "how"), options),
        ),
        section(
            "What a case keeps",
            paragraph(
                "The image, its label, its place in space, two keyed pseudonyms, and these attributes with these values"
                " only. A value that is not on the list is left out."
            ),
            table(("attribute", "values"), kept),
        ),
    ]


def _flags(report: PrivacyReport) -> list[str]:
    refused = [
        (code, PROBLEMS[code].title if code in PROBLEMS else "", count) for code, count in report.refused.items()
    ]
    risks = sorted({*report.pixel_risks_refused, *report.pixel_risks_let_through, *report.pixel_risks_allowed})
    rows = [
        (
            risk,
            "allowed" if risk in report.pixel_risks_allowed else "refused",
            report.pixel_risks_refused.get(risk, 0),
            report.pixel_risks_let_through.get(risk, 0),
        )
        for risk in risks
    ]
    return [
        section("What was refused", table(("code", "reason", "files or series"), refused) if refused else _nothing()),
        section(
            "Pixels that may show who a patient is",
            paragraph("Judged by the header: no program has looked at the pixels themselves."),
            table(("risk", "the site's policy", "refused", "let through"), rows) if rows else _nothing(),
        ),
    ]


def _end(report: PrivacyReport) -> str:
    searched = report.searched
    text = (
        "Every case was searched for its own source's names, numbers, dates (three spellings), institution and free"
        f" text before it was kept. Now {searched.files:,} files ({searched.size / 2**20:,.1f} MiB) outside the private"
        " store were searched for those of all cases together."
    )
    found = (
        paragraph(f"{len(searched.findings)} files hold such a text: {', '.join(searched.findings)}", "warning")
        if searched.findings
        else paragraph("None was found.")
    )
    return section(
        "The search", paragraph(text), found, signature("Privacy officer", "Date", "Head of imaging", "Date")
    )


def _nothing() -> str:
    return paragraph("Nothing.")
