"""Networks to be asked, explained and exported in tests."""

from pathlib import Path

import torch
from src.build import build_recognizer
from src.build.compose import compose
from src.command_line import network
from src.command_line.options import Command, parse
from src.exporting import checking
from src.exporting import export as exporting
from src.prediction.network import Network

ASK = Command("ask", "", (), options=network.OPTIONS, overrides=network.OVERRIDES)


def opened(*words: str) -> Network:
    (found,) = network.open_networks(parse(ASK, words))
    return found


def random_network(*words: str) -> Network:
    """A network with random weights, of which only the configuration is on disk."""
    cfg = compose([*words, "data.num_classes=5"])
    torch.manual_seed(0)
    recognizer = build_recognizer(cfg).eval().requires_grad_(False)
    for module in recognizer.modules():  # batch norms that do something
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean = 0.1 * torch.randn_like(module.running_mean)  # type: ignore[arg-type]
            module.running_var = 0.5 + torch.rand_like(module.running_var)  # type: ignore[arg-type]
    return Network(recognizer, [f"class {i}" for i in range(5)], cfg, Path(__file__), "random weights")


def export(found: Network, kind: str, out: Path, precision: str = "float32") -> checking.Check:
    about = exporting.describe(found, precision, "CC0", None)
    return exporting.export(found, about, kind, out)


def clips(count: int, found: Network) -> torch.Tensor:
    side = found.clip.crop
    channels = 2 if found.modality == "flow" else 3
    return torch.randint(0, 256, (count, channels, found.clip.frames, side, side), dtype=torch.uint8)
