"""App for MONAI Label: inference, fine-tuning and active learning with the bundles of this package.

    python -m medssm_monai.apps.label --studies FOLDER --models mamba_mis,medconvmamba

The modules of its tasks need MONAI Label (extra ``label``); this package imports without it.
"""
