"""Where to compute."""

import torch


def resolve_device(name: str) -> torch.device:
    """The device of that name; "auto" is cuda where there is one, else cpu.

    Raises `ValueError` for a device that is unknown, not there, or without float64 (mps).
    """
    available = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name == "auto":
        return torch.device("cuda" if len(available) > 1 else "cpu")
    if name in available or (name == "cuda" and len(available) > 1):
        return torch.device(name)
    why = " (mps has no float64, which the losses need)" if name == "mps" else ""
    raise ValueError(f"there is no device {name!r}{why}: choose auto, {', '.join(available)}")
