"""MONAI Deploy's operator that runs a bundle. Needs ``monai-deploy-app-sdk``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment, Operator, OperatorSpec

from ...dicom.results import ResultOptions
from ...dicom.selection import Selection
from .studies import build_engine, run_studies

__all__ = ["BundleOperator"]


class BundleOperator(Operator):
    """Studies of a folder through a bundle, results as DICOM objects below another.

    Series are sorted and read by this package, not by the SDK's ``DICOMSeriesToVolumeOperator``, and written by it. The
    SDK's ``DICOMDataLoaderOperator`` and ``DICOMSeriesSelectorOperator`` may stand before this operator and select the
    series by their rules.

    Args:
        fragment: the application.
        input_folder: of the studies.
        output_folder: of the results.
        model, weights: as :func:`~.model.open_model` takes them.
        selected: whether the operator waits for selected series.
        options: what is written, see :func:`~.studies.build_engine`.
        selection: rules of this package.

    Named input, where ``selected``:
        study_selected_series_list: of ``DICOMSeriesSelectorOperator``; its Series Instance UIDs count.
    """

    INPUT = "study_selected_series_list"

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        input_folder: Path,
        output_folder: Path,
        model: Path,
        weights: str | None = None,
        selected: bool = False,
        options: ResultOptions | None = None,
        selection: Selection | None = None,
        **kwargs: Any,
    ) -> None:
        self.input_folder, self.output_folder = input_folder, output_folder
        self.model, self.weights = model, weights
        self.selected, self.options, self.selection = selected, options, selection
        super().__init__(fragment, *args, **kwargs)  # calls setup

    def setup(self, spec: OperatorSpec) -> None:
        if self.selected:
            spec.input(self.INPUT)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        uids = None
        if self.selected:
            studies = op_input.receive(self.INPUT)
            uids = [str(one.series.SeriesInstanceUID) for study in studies for one in study.selected_series]
        engine = build_engine(self.model, uids, self.options, self.selection, self.weights)
        run_studies(engine, self.input_folder, self.output_folder)
