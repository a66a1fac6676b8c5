"""The imaging that runs inside the sandbox. It knows no network, no hub and no policy."""
