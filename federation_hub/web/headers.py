"""Security headers. The hub's pages run one script of their own and need no font, no frame and no other host."""

from flask import Response

from silo_node.web.headers import HEADERS, content_security_policy

CONTENT_SECURITY_POLICY = content_security_policy(scripts=True)


def protect(response: Response) -> Response:
    """Add the headers every answer carries; the content policy also guards JSON opened in a browser."""
    response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
