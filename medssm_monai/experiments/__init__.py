"""Commands around the bundles: data sets, comparisons, ablations, robustness, floors, fusion for a classifier, and
weights to ship.

Each is started as ``python -m medssm_monai.experiments.NAME``: ``prepare_data``, ``compare``, ``ablate``,
``tune``, ``robustness``, ``pixel_baseline``, ``fusion_downstream``, ``pack_weights``, ``record_domain``.
"""
