"""The network of a configuration."""

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.overrides import TorchFunctionMode

from src.build.compose import compose, network_config
from src.build.instantiate import NONSENSE, build, refusal
from src.errors import UsageError
from src.models.cost import Cost, measure
from src.models.pooling.fusion import HeadMaker
from src.models.recognizer import Recognizer

KEEP = {"auto": None, "tokens": True, "maps": False}  # features.keep → the argument of Recognizer.freeze


def build_recognizer(config: list[str] | DictConfig, num_classes: int | None = None) -> Recognizer:
    """The network of a configuration, with random weights; no data is needed on disk.

    Args:
        config: overrides as on the command line (`["model=i3d", "pooling=bert"]`), for a network that takes the
            model's own clips; or a composed configuration, which may have the smaller clips of a data set.
        num_classes: how many classes there are. A composed configuration may know it (`data.num_classes`).

    Raises:
        UsageError: an impossible combination, or an unknown number of classes.
    """
    cfg = compose(config, network_config(config)) if isinstance(config, list) else config
    num_classes = num_classes or ("data" in cfg and cfg.data.num_classes) or None
    if num_classes is None:
        raise UsageError("how many classes are there? give num_classes")
    head: HeadMaker = build(cfg.pooling.head)
    backbone = build(cfg.model.backbone)
    try:
        recognizer = Recognizer(
            backbone,
            head,
            fusion=cfg.pooling.fusion,
            frames=cfg.model.clip.frames,
            num_classes=num_classes,
            dropout=cfg.pooling.dropout,
            mean=list(cfg.model.mean),
            std=list(cfg.model.std),
        )
        _freeze(recognizer, cfg)
        return recognizer
    except NONSENSE as error:
        raise refusal(_names(cfg), error) from error


def _names(cfg: DictConfig) -> str:
    return f"model={cfg.model.name} pooling={cfg.pooling.name}"


def _freeze(recognizer: Recognizer, cfg: DictConfig) -> None:
    kind, last = cfg.freeze.kind, cfg.freeze.last
    if kind != "stages" and last is not None:
        raise UsageError(
            f"freeze.last={last}: only freeze=stages ends at a part, and this is freeze={kind}; give freeze=stages "
            f"freeze.last={last}, or leave it out"
        )
    if kind == "stages" and last is None:
        parts = recognizer.backbone.parts()
        raise UsageError(f"freeze.last has no value; it takes one of {', '.join(parts)}")
    if kind != "none":
        recognizer.freeze(last, KEEP[cfg.features.keep])


def measure_network(cfg: DictConfig, num_classes: int) -> dict[str, Cost]:
    """What the configured network costs for one clip, part by part (src.models.cost); nothing is computed.

    Raises:
        UsageError: as `build_recognizer`; or its clips do not go through it.
    """
    clip = cfg.model.clip
    with torch.device("meta"):
        one_clip = torch.empty(1, cfg.modality.channels, clip.frames, clip.crop, clip.crop)  # N C T H W
        network = skeleton(cfg, num_classes)
    try:
        return measure(network, one_clip)
    except NONSENSE as error:
        raise refusal(f"{_names(cfg)} model.clip.frames={clip.frames} model.clip.crop={clip.crop}", error) from error


def skeleton(cfg: DictConfig, num_classes: int | None = None) -> Recognizer:
    """The network without initial values, to refuse, count or measure it: its memory is never touched.

    Raises:
        UserError: as `build_recognizer`.
    """
    with _WithoutInitialValues():
        return build_recognizer(cfg, num_classes)


class _WithoutInitialValues(TorchFunctionMode):
    """Skips what gives tensors their initial values: it takes seconds, and the memory."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0].zero_()  # a value that samplers which draw until one fits accept
        if getattr(func, "__module__", None) == "torch.nn.init":  # gives back the tensor that it fills
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
