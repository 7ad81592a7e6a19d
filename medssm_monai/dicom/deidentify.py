"""Objects without the patient: the basic profile of PS3.15 annex E for the attributes that our objects carry.

Whole-file de-identifiers have to know every attribute of every maker. The objects of this room hold a closed list of
attributes (:mod:`.sources` says which are taken from the images), so that a short table of actions covers them, and
identifiers follow from a key: the same image has the same new identifiers in every object and every run.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Deidentifier"]

STANDARD = "1.2.840.10008."  # identifiers of the standard itself
SHORTEST_KEY = 16  # bytes
EMPTIED = (  # action Z of table E.1-1
    *("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName"),
    *("AccessionNumber", "StudyID", "ContentCreatorName"),
)
REMOVED = (  # action X
    *("IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "PatientComments"),
    *("TimezoneOffsetFromUTC", "InstitutionName", "StationName"),
)
DUMMIES = {"ContentDate": "19000101", "ContentTime": "000000"}  # action D, where a value is required
DATES = ("DA", "DT", "TM")
METHOD = "PS3.15 basic profile; own texts and model facts kept"
OPTIONS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113109", "Retain Device Identity Option"),
)


@dataclass(frozen=True)
class Deidentifier:
    """Takes the patient out of what is written; pixels are left as they are.

    Attributes:
        key: secret from which new identifiers follow; who has it can tell which image they belong to.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, bytes) or len(self.key) < SHORTEST_KEY:
            raise ValueError(
                f"the key of a de-identification is {SHORTEST_KEY} bytes or more, such as secrets.token_bytes(32); "
                f"got {type(self.key).__name__}" + (f" of {len(self.key)}." if isinstance(self.key, bytes) else ".")
            )

    def uid(self, uid: str) -> str:
        """Another unique identifier, always the same one for ``uid``; those of the standard stay."""
        if not uid or str(uid).startswith(STANDARD):
            return str(uid)
        return f"2.25.{int.from_bytes(self._digest('uid', str(uid))[:16], 'big')}"

    def key_of(self, key: str) -> str:
        """Stands for a key that follows from identifiers, from which who has the image could tell it."""
        return self._digest("key", key).hex()[: len(key)]

    def patient(self, patient_id: str) -> str:
        """Stands for a patient; empty where there is no identifier."""
        return self._digest("patient", str(patient_id)).hex()[:16] if str(patient_id or "").strip() else ""

    def header(self, header: Dataset) -> None:
        """Take the patient out of what an object takes from its source, in place; references included."""
        for element in header.iterall():
            if element.VR == "UI" and element.value:
                several = not isinstance(element.value, str)
                element.value = [self.uid(one) for one in element.value] if several else self.uid(element.value)
        header.PatientID = self.patient(header.get("PatientID", ""))
        for keyword in EMPTIED:
            if keyword in header:
                setattr(header, keyword, "")
        for keyword in REMOVED:
            if keyword in header:
                delattr(header, keyword)

    def finish(self, made: Dataset) -> None:
        """Take dates and times out of a finished object, in place, and state what was done."""
        from pydicom import Dataset

        _without_dates(made)
        made.PatientIdentityRemoved = "YES"
        made.LongitudinalTemporalInformationModified = "REMOVED"
        made.DeidentificationMethod = METHOD
        made.DeidentificationMethodCodeSequence = []
        for value, meaning in OPTIONS:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
            made.DeidentificationMethodCodeSequence.append(item)

    def _digest(self, what: str, text: str) -> bytes:
        return hmac.digest(self.key, f"{what}:{text.strip()}".encode(), hashlib.sha256)


def _without_dates(dataset: Dataset) -> None:
    for element in list(dataset):
        if element.VR == "SQ":
            for item in element.value:
                _without_dates(item)
        elif element.VR in DATES:
            if element.keyword in DUMMIES:
                dataset[element.tag].value = DUMMIES[element.keyword]
            elif element.keyword in EMPTIED:
                dataset[element.tag].value = ""
            else:
                del dataset[element.tag]
