"""MONAI Label's endpoints as this server offers them: those that are named here, with checked arguments, each in a
thread of its own so that a slow one holds no other."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import FileResponse, Response
from monailabel.endpoints import (
    activelearning,
    batch_infer,
    datastore,
    infer,
    info,
    logs,
    model,
    scoring,
    session,
    train,
)
from monailabel.interfaces.utils.app import app_instance, clear_cache
from requests_toolbelt import MultipartEncoder
from starlette.background import BackgroundTask, BackgroundTasks
from starlette.datastructures import UploadFile

from ..uploads import forget_upload
from .audit import asking_user, note
from .errors import BAD_INPUT, NOT_FOUND, as_http_error
from .formats import split_name
from .json_values import json_object, storable, unchanging
from .names import base_name, plain_name
from .options import Limits, ServerOptions
from .params import infer_params, info_params, sample_params, scoring_params, session_expiry, train_params

__all__ = ["add_endpoints"]

OPEN = {  # endpoint, and the option that opens it if it is not open to all
    ("GET", "/info/"): None,
    ("POST", "/infer/{model}"): None,
    ("GET", "/batch/infer"): None,
    ("POST", "/batch/infer/{model}"): None,
    ("DELETE", "/batch/infer"): None,
    ("GET", "/train/"): None,
    ("POST", "/train/{model}"): None,
    ("DELETE", "/train/"): None,
    ("GET", "/scoring/"): None,
    ("POST", "/scoring/{method}"): None,
    ("DELETE", "/scoring/"): None,
    ("POST", "/activelearning/{strategy}"): None,
    ("GET", "/datastore/"): None,
    ("PUT", "/datastore/"): None,
    ("DELETE", "/datastore/"): None,
    ("HEAD", "/datastore/image"): None,
    ("GET", "/datastore/image"): None,
    ("PUT", "/datastore/image"): None,
    ("DELETE", "/datastore/image"): None,
    ("GET", "/datastore/image/info"): None,
    ("PUT", "/datastore/image/info"): None,
    ("HEAD", "/datastore/label"): None,
    ("GET", "/datastore/label"): None,
    ("PUT", "/datastore/label"): None,
    ("DELETE", "/datastore/label"): None,
    ("GET", "/datastore/label/info"): None,
    ("PUT", "/datastore/label/info"): None,
    ("PUT", "/datastore/updatelabelinfo"): None,
    ("GET", "/datastore/dataset"): None,
    ("GET", "/session/{session_id}"): None,
    ("PUT", "/session/"): None,
    ("DELETE", "/session/{session_id}"): None,
    ("GET", "/model/{model}"): None,
    ("GET", "/model/info/{model}"): None,
    ("PUT", "/model/{model}"): "model",
    ("DELETE", "/model/{model}"): "model",
    ("GET", "/logs/"): "logs",
}
ROUTERS = (activelearning, batch_infer, datastore, infer, info, logs, model, scoring, session, train)
NAMES = ("image", "id", "label", "tag", "model", "method", "strategy", "session_id")
EMPTY = ("image", "session_id", "tag")  # may be empty where an endpoint has a default for it
JSON_TEXTS = ("params", "info")


def add_endpoints(app: FastAPI, options: ServerOptions) -> None:
    """Add the endpoints of :data:`OPEN`, and ``/reload`` where that is asked for."""
    found = set()
    for module in ROUTERS:
        for route in module.router.routes:
            for method in sorted(route.methods):
                key = (method, route.path)
                if key not in OPEN or (OPEN[key] is not None and OPEN[key] not in options.allowed):
                    continue
                found.add(key)
                endpoint = in_thread(route.endpoint, key, options.limits)
                app.add_api_route(
                    route.path,
                    endpoint,
                    methods=[method],
                    tags=route.tags,
                    summary=route.summary,
                    responses=route.responses,
                    include_in_schema=route.include_in_schema,
                    operation_id=f"{method}_{route.path}",
                )
    missing = {key for key, option in OPEN.items() if option is None or option in options.allowed} - found
    if missing:
        raise RuntimeError(f"this version of MONAI Label has no {sorted(missing)}; install the one of this package.")
    if "reload" in options.allowed:
        router = APIRouter()
        router.add_api_route("/reload", lambda: clear_cache() or {}, methods=["POST"])
        app.include_router(router)


def in_thread(
    endpoint: Callable[..., Coroutine[Any, Any, Any]], key: tuple[str, str], limits: Limits
) -> Callable[..., Any]:
    """An endpoint of MONAI Label, which blocks although it is a coroutine, as a function that runs in a thread."""

    def call(**arguments: Any) -> Any:
        with as_http_error(BAD_INPUT, " ".join(key)):
            try:
                checked = check(key, arguments, limits)
                return prepared(key, _finish(endpoint(**checked)), checked)
            except BaseException:
                clean(arguments)
                raise

    call.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]  # what FastAPI reads
    call.__name__ = endpoint.__name__
    return call


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise RuntimeError("an endpoint of MONAI Label waits; it cannot run in a thread.")


def clean(arguments: Mapping[str, Any]) -> None:
    """Remove what an endpoint has written for a request that failed; MONAI Label does so after good ones only."""
    for value in arguments.values():
        for task in value.tasks if isinstance(value, BackgroundTasks) else ():
            task.func(*task.args, **task.kwargs)


def check(key: tuple[str, str], arguments: dict[str, Any], limits: Limits) -> dict[str, Any]:
    """Arguments of an endpoint, file names of uploads cut to their last part.

    Raises:
        ValueError: names that are none, JSON that is none, params that there are not or that exceed a limit.
        HTTPException: an unknown model (404).
    """
    for name, value in arguments.items():
        if name in NAMES and isinstance(value, str) and not (name in EMPTY and value == ""):
            plain_name(value, name)
        for upload in value if isinstance(value, list) else [value]:
            if isinstance(upload, UploadFile):
                upload.filename = base_name(upload.filename, "file name")
    given = _objects(arguments, limits)
    facts = {name: arguments[name] for name in ("model", "method", "strategy", "image", "label", "tag", "session_id")
             if isinstance(arguments.get(name), str) and arguments[name]}  # fmt: skip
    note(client_id=given.get("params", {}).get("client_id"), **facts)
    if "user" in arguments:
        arguments = {**arguments, "user": arguments["user"].model_copy(update={"username": asking_user()})}
    _check_params(key, arguments, given, limits)
    if key in (("PUT", "/datastore/"), ("PUT", "/datastore/image")) and not arguments.get("image"):
        arguments = {**arguments, "image": split_name(arguments["file"].filename)[0]}
    return arguments


def _objects(arguments: Mapping[str, Any], limits: Limits) -> dict[str, dict[str, Any]]:
    found = {}
    for name in JSON_TEXTS:
        value = arguments.get(name)
        if isinstance(value, str):
            found[name] = json_object(value, name, limits.json_bytes)
        elif isinstance(value, dict):
            found[name] = storable(value, name)
    return found


def _task(model_name: str) -> Any:
    app = app_instance()
    app.bundle_path(model_name)  # 404 for an unknown one
    return app.tasks[model_name]


def _check_params(
    key: tuple[str, str], arguments: Mapping[str, Any], given: Mapping[str, dict[str, Any]], limits: Limits
) -> None:
    path, params = key[1], given.get("params", {})
    if key == ("POST", "/infer/{model}"):
        task = _task(arguments["model"])
        infer_params(task.kind, params, echoed=task.config())
        _check_infer(task, arguments)
    elif key == ("POST", "/batch/infer/{model}"):
        task = _task(arguments["model"])
        infer_params(task.kind, params, batch=True, echoed=task.config())
    elif key == ("POST", "/train/{model}"):
        _task(arguments["model"])
        app_instance().check_training(arguments["model"], train_params(params, limits))
    elif key == ("PUT", "/session/"):
        session_expiry(arguments.get("expiry", 0))
    elif key == ("POST", "/scoring/{method}"):
        app_instance().scoring_method(arguments["method"])
        scoring_params(params, limits)
    elif path.startswith("/activelearning"):
        sample_params(params)
    elif path.endswith("info") and key[0] == "PUT":  # of an image or label
        info_params(given.get("info", params))
    elif path.startswith("/datastore") and key[0] == "PUT":
        info_params(params)
    for name in ("model", "method"):
        served = app_instance().served.get(str(arguments.get(name) or "").removesuffix("_epistemic"))
        if served is not None and "/infer" not in path:
            note(weights=served.weights_sha256)


def _check_infer(task: Any, arguments: Mapping[str, Any]) -> None:
    if not (arguments.get("file") or arguments.get("image") or arguments.get("session_id")):
        raise ValueError("name an image of the studies (image=ID), a session (session_id=ID), or send a file.")
    if arguments.get("label"):
        raise ValueError(f"{task.model.name} takes no label with an image.")
    output = getattr(arguments.get("output"), "value", None)
    if output == "dicom_seg":
        raise ValueError("output=dicom_seg is for a DICOMweb server's images; ask for output=image.")
    if output == "image" and task.kind == "classification":
        raise ValueError("a classification has no image; ask for output=json.")


def prepared(key: tuple[str, str], result: Any, arguments: Mapping[str, Any]) -> Any:
    """What an endpoint returned, as it can be sent."""
    if isinstance(result, FileResponse):
        if not Path(result.path).is_file():
            raise HTTPException(NOT_FOUND, "there is no such file.")
        if key == ("GET", "/datastore/dataset"):
            result.background = BackgroundTask(forget_upload, str(result.path))
    if key == ("POST", "/infer/{model}") and isinstance(result, dict) and arguments.get("output") is None:
        params = json.loads(arguments.get("params") or "{}")
        if params.get("result_extension"):  # a client that expects a form with a file in it fails without a form
            form = MultipartEncoder(fields={"params": (None, json.dumps(result), "application/json")})
            return Response(content=form.to_string(), media_type=form.content_type)
    return unchanging(result)
