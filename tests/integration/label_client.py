"""What 3D Slicer asks of the server, in the order in which it does, with a client of MONAI Label.

    python label_client.py CLIENT_FILE URL PASSWORD IMAGE LABEL

Runs in the environment of MONAI Label; prints what came back as JSON. As in 3D Slicer every call has a client of its
own, which logs in first.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import time
from typing import Any

SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8"}  # of every inference


def main(client_file: str, url: str, password: str, image: str, label: str) -> dict[str, Any]:
    """Results by call."""
    spec = importlib.util.spec_from_file_location("client_of_monailabel", client_file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tempfile.mkdtemp()

    def client() -> Any:
        made = module.MONAILabelClient(url, folder, "slicer")
        assert made.auth_enabled()
        made.update_auth(made.auth_token("Dr. Someone", password))
        assert made.auth_valid_token()
        return made

    found: dict[str, Any] = {}
    try:
        module.MONAILabelClient(url, folder).info()
    except module.MONAILabelClientException as error:
        found["without token"] = error.status_code
    try:
        module.MONAILabelClient(url, folder).auth_token("Dr. Someone", "wrong")
    except module.MONAILabelClientException as error:
        found["wrong password"] = error.status_code
    info = client().info()
    found["models"] = {name: model["type"] for name, model in info["models"].items()}
    config = {name: dict(model["config"]) for name, model in info["models"].items()}
    found["sample"] = client().next_sample("random", {})["id"]
    session = client().create_session(image)["session_id"]
    found["session"] = client().get_session(session)["name"] == session
    mask, params = client().infer("mamba_mis", "", {**config["mamba_mis"], **SLICER}, session_id=session)
    found["mask of a session"] = [os.path.splitext(mask)[1], params["label_names"]]
    found["removed"] = client().remove_session(session)["name"] == session
    found["uploaded"] = client().upload_image(image, "from the client")["image"]
    mask, params = client().infer("mamba_mis", "from the client", {**config["mamba_mis"], **SLICER})
    found["mask"] = [os.path.splitext(mask)[1], params["label_names"]]
    file, params = client().infer("mamba_mis", "", dict(SLICER), file=image)
    found["mask of a file"] = os.path.splitext(file)[1]
    file, params = client().infer("medconvmamba", "from the client", {**config["medconvmamba"], **SLICER})
    params = json.loads(params["params"]) if "params" in params else params
    found["classes"] = [file, sorted(entry["label"] for entry in params["prediction"])]
    found["saved"] = client().save_label(
        "from the client", label, params={"label_info": [{"name": "lesion", "idx": 1}]}
    )
    found["store"] = sorted(client().datastore()["objects"]["from the client"]["labels"])
    found["label"] = os.path.getsize(client().download_label("from the client", "final")) == os.path.getsize(label)
    train = dict(info["trainers"]["mamba_mis"]["config"])
    found["training"] = client().train_start("mamba_mis", {**train, "max_epochs": 1})["status"]
    found["running"] = client().train_status(False) is not None
    for _ in range(50):
        stopped = client().train_stop()
        if stopped:
            break
        time.sleep(0.5)
    found["stopped"] = (stopped or {}).get("status")
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
