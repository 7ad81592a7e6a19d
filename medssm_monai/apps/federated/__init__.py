"""Federated training with NVIDIA FLARE: jobs for its server and sites, what a site allows, the model that comes out.

FLARE and MONAI do the work (``monai-nvflare``, :class:`monai.fl.client.MonaiAlgo`); what is here writes their files.
"""

from __future__ import annotations

from .job import write_job
from .model import take_model
from .site import prepare_site

__all__ = ["prepare_site", "take_model", "write_job"]
