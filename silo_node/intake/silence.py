"""Decoders warn about what they read by quoting it: a header's value must not reach a terminal or a log that way."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKATIVE = ("pydicom", "pylibjpeg", "openjpeg", "rle", "nibabel", "nibabel.global")


@contextmanager
def silent_decoders() -> Iterator[None]:
    """Drop warnings and log records of imaging libraries inside the block."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [(logger.propagate, logger.handlers) for logger in loggers]
    for logger in loggers:
        logger.propagate, logger.handlers = False, [logging.NullHandler()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, (propagate, handlers) in zip(loggers, before, strict=True):
            logger.propagate, logger.handlers = propagate, handlers
