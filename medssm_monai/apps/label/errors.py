"""What went wrong, as an HTTP answer that says it; MONAI Label itself answers every exception with a bare 500."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import HTTPException
from monailabel.interfaces.exception import MONAILabelException

from ...data import DatalistError, ImageReadError
from ...utils.shown_names import shown_text

__all__ = ["BAD_INPUT", "NOT_FOUND", "NO_MODEL", "as_http_error"]

logger = logging.getLogger(__name__)
BAD_INPUT = 400
NOT_FOUND = 404
NO_MODEL = 503  # the bundle cannot be served as it is: no weights, or weights that do not load


@contextmanager
def as_http_error(status: int, what: str) -> Iterator[None]:
    """Turn an error whose message says what to do into an answer of this status; any other into one of 500.

    Args:
        status: for errors of the request's data, or of the bundle.
        what: what was tried, at the start of the answer.
    """
    try:
        yield
    except HTTPException:
        raise
    except MONAILabelException as error:
        raise HTTPException(NOT_FOUND, f"{what}: {shown_text(error.msg)}") from error
    except (ImageReadError, DatalistError, FileNotFoundError, ValueError) as error:
        text = shown_text(f"{what}: {error}")
        logger.warning("%s", text)
        raise HTTPException(status, text) from error
    except Exception as error:
        logger.exception("%s failed", what)
        raise HTTPException(500, shown_text(f"{what}: {type(error).__name__}: {error}")) from error
