"""What a program should do once, before it computes."""

from __future__ import annotations

from .kept_memory import keep_freed_memory
from .waiting_threads import sleep_while_waiting

__all__ = ["prepare_process"]


def prepare_process() -> None:
    """Settings of this process that make networks faster and change no result.

    Bundle configs call it in ``initialize``, :func:`medssm_monai.load` before it builds a network; call it yourself,
    once, in a program of your own. See :func:`.sleep_while_waiting` and :func:`.keep_freed_memory`: both leave alone
    what the user set by environment variables.
    """
    sleep_while_waiting()
    keep_freed_memory()
