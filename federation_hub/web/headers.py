"""Security headers. The hub's pages run one script of their own and need no font, no frame and no other host.

What a browser refuses under the policy it reports to ``/csp-reports``: a page that breaks the policy is a fault of ours
or an attack, and either way nobody would tell us.
"""

from flask import Response

from silo_node.web.headers import HEADERS, content_security_policy

REPORTS = "/csp-reports"
_REPORTING = f"; report-uri {REPORTS}; report-to csp"
CONTENT_SECURITY_POLICY = content_security_policy(scripts=True) + _REPORTING
_TWO_YEARS = 63_072_000


def protect(response: Response, *, over_https: bool = False) -> Response:
    """Add the headers every answer carries; the content policy also guards JSON opened in a browser."""
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("Reporting-Endpoints", f'csp="{REPORTS}"')
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if over_https:
        response.headers.setdefault("Strict-Transport-Security", f"max-age={_TWO_YEARS}")
    return response
