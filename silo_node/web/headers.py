"""The headers that guard a page, and the check that keeps other sites from using a cookie."""

from urllib.parse import urlsplit

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}


def content_security_policy(*, scripts: bool = False) -> str:
    """Return the policy of our pages: nothing inline, no font, no frame, no other host; scripts only where asked."""
    own_scripts = "script-src 'self'; connect-src 'self'; " if scripts else ""
    return (
        f"default-src 'none'; {own_scripts}style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


def is_cross_site(method: str, host: str, fetch_site: str | None, origin: str | None) -> bool:
    """Tell whether a browser says that another site makes this request; programs send neither header.

    Source: the header check of Go 1.25's net/http CrossOriginProtection.
    """
    if method in SAFE_METHODS:
        return False
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc != host
