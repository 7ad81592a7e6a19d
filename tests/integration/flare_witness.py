"""A filter for what a site of a federation sends, which the tests list in a job: it writes down all of it, and can end
the site's process at once, as a power cut does. It runs in FLARE's environment."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
from nvflare.apis.dxo import from_shareable
from nvflare.apis.filter import Filter
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable


class Witness(Filter):
    """``folder/SITE_ROUND.npz`` has the weights sent, ``SITE_ROUND.json`` everything else of the message.

    Args:
        folder: where to write.
        ends: site and number of the message instead of which its process is killed, ``{"site-2": 1}``.
    """

    def __init__(self, folder: str, ends: dict[str, int] | None = None) -> None:
        super().__init__()
        self.folder, self.ends, self.count = folder, ends or {}, 0

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        site = fl_ctx.get_identity_name()
        if self.ends.get(site) == self.count:
            os.kill(os.getpid(), signal.SIGKILL)
        if shareable.get_return_code() != ReturnCode.OK:  # an error, which has no weights
            return shareable
        dxo = from_shareable(shareable)
        path = Path(self.folder, f"{site}_{self.count}")
        np.savez(path.with_suffix(".npz"), **dxo.data)
        rest = {key: value for key, value in shareable.items() if key not in ("DXO", "data")}
        message = {"kind": dxo.data_kind, "meta": dxo.meta, "rest": rest, "keys": sorted(shareable)}
        path.with_suffix(".json").write_text(json.dumps(message, default=repr))
        self.count += 1
        return shareable
