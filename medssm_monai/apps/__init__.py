"""Programs that open a bundle: ``label`` is an app for MONAI Label, ``viewer`` a page in the browser."""
