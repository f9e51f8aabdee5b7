"""A linmem-tiny that has learnt nothing. What makes it needs torch and transformers: those of vLLM's environment, if
they are not installed here.
"""

import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from evals.vllm_cpu.server import ENVIRONMENT


@pytest.fixture(scope="session")
def torch(request: pytest.FixtureRequest) -> Any:
    """The module; the test is skipped where there is none."""
    if find_spec("torch") is None:
        request.getfixturevalue("vllm_python")
        where = {"base": str(ENVIRONMENT), "platbase": str(ENVIRONMENT)}
        sys.path.append(sysconfig.get_path("purelib", vars=where))
    import torch

    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="session")
def untaught_folder(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hybrid that has learnt nothing, as it is published; what it says depends on all it reads."""
    from evals.tiny.architectures import untaught
    from evals.tiny.publish import publish

    model = untaught("hybrid", seed=3)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "norm" in name:
                values.add_(0.1 * torch.randn_like(values))
    folder = tmp_path_factory.mktemp("tiny") / "hybrid"
    publish(model, folder)
    return folder
