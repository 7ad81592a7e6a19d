"""App for MONAI Label: inference, fine-tuning and active learning with the bundles of this package.

    python -m medssm_monai.apps.label --studies FOLDER --models mamba_mis,medconvmamba

The modules of its tasks need MONAI Label (extra ``label``); this package imports without it.
"""

from __future__ import annotations

from .pydicom_names import restore_pydicom_names

restore_pydicom_names()  # before any module of MONAI Label is imported
