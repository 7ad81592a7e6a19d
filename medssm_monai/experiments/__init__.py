"""Commands around the bundles: data sets, ablations, robustness, floors, fusion for a classifier, weights to ship.

Each is started as ``python -m medssm_monai.experiments.NAME``: ``prepare_data``, ``ablate``, ``robustness``,
``pixel_baseline``, ``fusion_downstream``, ``pack_weights``, ``record_domain``.
"""
