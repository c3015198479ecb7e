"""Chooses the device of a training: a declared GPU that does not answer is refused or, with ``cpu_fallback``, logged.

Without a CUDA device XGBoost itself trains on the CPU, with a warning. So its device is determined first, with a
matrix of one row.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import warnings
from typing import Any, Literal, get_args

import numpy as np
import xgboost as xgb

from pipelines.errors import Refused
from pipelines.spec.runner import StageRunner

Device = Literal["cpu", "cuda"]
CUDA_ERROR_NO_DEVICE = 100
"""What ``cuInit`` returns where there is a driver and no device (CUDA driver API, ``CUDA_ERROR_NO_DEVICE``)."""
DEVICES: tuple[Device, ...] = get_args(Device)
log = logging.getLogger(__name__)


def choose_device(model: str, runner: StageRunner) -> Device:
    """``cuda`` if GPUs are declared and one answers. ``Refused`` if none does, unless falling back is allowed."""
    if not runner.gpus:
        return "cpu"
    if xgboost_device() == "cuda":
        return "cuda"
    faults = cuda_faults()
    if not runner.cpu_fallback:
        raise Refused(
            f"no CUDA device answers, and runner.train.gpus of {model} is {runner.gpus}", [*faults, GPU_REMEDY]
        )
    log.warning("no CUDA device answers (%s); %s is trained on the CPU, as cpu_fallback allows", faults[0], model)
    return "cpu"


GPU_REMEDY = "run it on a GPU node (runner.train.on: kubernetes), set gpus: 0, or allow cpu_fallback: true"


def xgboost_device() -> Device:
    """The device on which XGBoost trains if its parameter ``device`` is ``cuda``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning is what this function detects
        matrix = xgb.DMatrix(np.zeros((1, 1), dtype=np.float32), np.zeros(1), nthread=1)
        config = json.loads(xgb.Booster({"device": "cuda"}, [matrix]).save_config())
    return "cuda" if config["learner"]["generic_param"]["device"].startswith("cuda") else "cpu"


def require_cuda(purpose: str) -> None:
    """``Refused`` if no CUDA device answers; whatever ``cpu_fallback`` says."""
    if xgboost_device() != "cuda":
        raise Refused(f"{purpose} needs a CUDA device, and none answers here", cuda_faults())


def cuda_faults() -> list[str]:
    """What stands between XGBoost and a CUDA device, as far as its build and the driver say; never empty."""
    build = xgb.build_info()
    if not build.get("USE_CUDA"):
        return [f"XGBoost {xgb.__version__} is built without CUDA; install the build that PyPI has"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f"; CUDA_VISIBLE_DEVICES is {visible!r}"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        return [f"there is no CUDA driver: {error}{hidden}"]
    return [_driver_fault(driver, build) + hidden]


def _driver_fault(driver: Any, build: dict[str, Any]) -> str:
    version, count = ctypes.c_int(), ctypes.c_int()
    status = driver.cuInit(0)
    if status:
        why = "no device" if status == CUDA_ERROR_NO_DEVICE else "see the CUDA driver API"
        return f"the CUDA driver does not start: cuInit returned {status} ({why})"
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGetCount(ctypes.byref(count))
    supported = f"{version.value // 1000}.{version.value % 1000 // 10}"
    built = ".".join(map(str, build.get("CUDA_VERSION", ["unknown"])))
    return f"the driver counts {count.value} devices and supports CUDA {supported}; XGBoost is built for {built}"
