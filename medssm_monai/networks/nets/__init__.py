"""Networks: images ``(B, C, *spatial)`` in, logits or images out."""

from __future__ import annotations

from .clinical_fmamba import ClinicalFMamba, clinical_fmamba_2d, clinical_fmamba_3d
from .mamba_mis import MambaMIS, mamba_mis_3d_b, mamba_mis_3d_s, mamba_mis_b, mamba_mis_l, mamba_mis_s
from .medconvmamba import MedConvMamba, medconvmamba_s, medconvmamba_t
from .medspectralnet import MedSpectralNet, medspectralnet, medspectralnet_full

__all__ = [
    "ClinicalFMamba",
    "MambaMIS",
    "MedConvMamba",
    "MedSpectralNet",
    "clinical_fmamba_2d",
    "clinical_fmamba_3d",
    "mamba_mis_3d_b",
    "mamba_mis_3d_s",
    "mamba_mis_b",
    "mamba_mis_l",
    "mamba_mis_s",
    "medconvmamba_s",
    "medconvmamba_t",
    "medspectralnet",
    "medspectralnet_full",
]
