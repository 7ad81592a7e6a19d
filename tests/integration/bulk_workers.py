"""Workers for tests: one that a study kills, as running out of memory does, and one that leaves time to the others."""

from __future__ import annotations

import os
import signal
import time

from medssm_monai.apps.bulk.ray_pool import StudyWorkerOnNode


class DeadlyWorker(StudyWorkerOnNode):
    def predict(self, study):
        if study.files[0].endswith("image 7.png"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(study)


class SlowWorker(StudyWorkerOnNode):
    def predict(self, study):
        time.sleep(0.2)
        return super().predict(study)
