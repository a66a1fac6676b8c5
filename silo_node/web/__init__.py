"""What the hub's pages and a silo's console share, so that both look and guard themselves alike.

The style sheet, the addresses of static files, how numbers and moments are written, and the security headers. No web
framework is imported here: the hub and the console each bring their own application.
"""
