"""What the library logs, as lines on stderr: the command line's only handler of log records."""

from __future__ import annotations

import logging

from esm.common.runtime import print_line


class NoteHandler(logging.Handler):
    """Prints a record as one line above the bars, and nothing under ``--quiet``."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message alone: who runs a command is not helped by the module's name."""
        try:
            print_line(record.getMessage())
        except OSError:  # stderr is closed or its disk full
            self.handleError(record)


def print_notes() -> None:
    """Let what ``esm`` logs be printed, steps and warnings; calling it again changes nothing.

    So is what huggingface_hub says of requests that it repeats: it would print that itself, across
    the bars and under ``--quiet``.
    """
    for name in ("esm", "huggingface_hub.utils._http"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers = [NoteHandler()]
        logger.propagate = False  # a library that configures the root logger would say it twice
