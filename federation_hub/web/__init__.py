"""What the hub's pages share: the frame, the stylesheet, charts drawn in Python, words for codes, security headers."""
