"""MONAI Deploy's application around a bundle. Needs ``monai-deploy-app-sdk``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_selector_operator import DICOMSeriesSelectorOperator

from .operator import BundleOperator

__all__ = ["BundleApplication"]

NAMES_FILES = f"{DICOMDataLoaderOperator.__module__}.{DICOMDataLoaderOperator.__name__}"
"""Logger of the SDK that calls files by their names, which may be those of patients."""


class BundleApplication(Application):
    """Studies in, results out.

    Args:
        argv: command line, the program first: the SDK's options ``-i``, ``-o``, ``-m``, ``-l`` and ``-w``; what they
            leave out comes from its environment variables ``HOLOSCAN_INPUT_PATH``, ``HOLOSCAN_OUTPUT_PATH`` and
            ``HOLOSCAN_MODEL_PATH``, as in an application package.
        rules: selection rules as JSON, as ``DICOMSeriesSelectorOperator`` takes them; all series that match take part.
            Without rules the SDK reads nothing.
        bundle: further arguments of :class:`~.operator.BundleOperator`.
    """

    def __init__(self, argv: Sequence[str], rules: str = "", **bundle: Any) -> None:
        self.words, self.rules, self.bundle = list(argv), rules, bundle
        super().__init__()

    def compose(self) -> None:
        asked = any(word.startswith(("-l", "--log-level")) for word in self.words)
        quiet = [] if asked else ["--log-level", "WARN"]  # the SDK's messages hold paths and descriptions
        context: AppContext = Application.init_app_context([*self.words, *quiet])
        logging.getLogger(NAMES_FILES).setLevel(logging.ERROR)
        logging.getLogger("medssm_monai").setLevel(logging.INFO)
        folder = Path(context.input_path)
        operator = BundleOperator(
            self,
            CountCondition(self, 1),
            name="bundle",
            input_folder=folder,
            output_folder=Path(context.output_path),
            model=Path(context.model_path),
            selected=bool(self.rules),
            **self.bundle,
        )
        if not self.rules:
            self.add_operator(operator)
            return
        loader = DICOMDataLoaderOperator(self, CountCondition(self, 1), name="loader", input_folder=folder)
        selector = DICOMSeriesSelectorOperator(self, name="selector", rules=self.rules, all_matched=True)
        self.add_flow(loader, selector, {("dicom_study_list", "dicom_study_list")})
        self.add_flow(selector, operator, {("study_selected_series_list", BundleOperator.INPUT)})
