"""Application for MONAI Deploy: DICOM studies through any bundle, from its folder or its exported ``.ts``.

    python -m medssm_monai.apps.deploy -i STUDIES -o RESULTS -m MODEL

:mod:`.operator` and :mod:`.application` need MONAI Deploy's SDK (``monai-deploy-app-sdk``, an environment of its own);
this package, and the rest of it, imports without it.
"""
