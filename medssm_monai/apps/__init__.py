"""Programs that open a bundle: ``cli`` is the command ``medssm``, ``bundles`` copies and packs, ``label`` is an app for
MONAI Label, ``viewer`` a page in the browser."""
