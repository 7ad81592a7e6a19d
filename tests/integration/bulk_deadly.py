"""A worker that one study kills, as running out of memory does."""

from __future__ import annotations

import os
import signal

from medssm_monai.apps.bulk.ray_pool import StudyWorkerOnNode


class DeadlyWorker(StudyWorkerOnNode):
    def predict(self, study):
        if study.files[0].endswith("image 7.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(study)
