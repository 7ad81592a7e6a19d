"""The script that Orthanc runs (``PythonScript``). It is no part of a package there, and makes its folder one."""

import importlib
import importlib.util
import sys
from pathlib import Path

import orthanc

NAME = "medssm_in_orthanc"
HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True  # the package may belong to somebody else

_spec = importlib.util.spec_from_file_location(NAME, HERE / "__init__.py", submodule_search_locations=[str(HERE)])
assert _spec is not None and _spec.loader is not None
sys.modules[NAME] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules[NAME])
importlib.import_module(f"{NAME}.plugin").Plugin(orthanc).start()
