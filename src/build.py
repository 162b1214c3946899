"""Everything that turns configuration into objects, in one place, before anything slow happens."""

from typing import TYPE_CHECKING, Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor
from torch.overrides import TorchFunctionMode

from src.config import CONF, register
from src.errors import UserError
from src.models.pooling.fusion import HeadMaker
from src.models.recognizer import Recognizer

if TYPE_CHECKING:
    from src.data.datamodule import VideoData


def compose(overrides: list[str], config_name: str = "train") -> DictConfig:
    """The configuration that `python -m src.train *overrides` would get."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra_compose(config_name, overrides=overrides)


def compose_network(overrides: list[str]) -> DictConfig:
    """As `compose`, for a network without data: it has the model's own clip and HMDB51's classes.

    The default data are the embedded ones, which make clips small; they count only where data= says so.
    """
    named = any(override.startswith("data=") for override in overrides)
    return compose(overrides if named else ["data=hmdb51", *overrides])


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a `_target_` node.

    Raises:
        UserError: a constructor refused its arguments (its own one-line reason).
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            raise UserError(f"{node.get('_target_')}: {cause}") from cause
        raise


def build_recognizer(config: list[str] | DictConfig, num_classes: int | None = None) -> Recognizer:
    """The network of a configuration, with random weights; no data is needed on disk.

    Args:
        config: overrides as on the command line (`["model=i3d", "pooling=bert", "data.num_classes=51"]`), see
            `compose_network`; or a composed configuration.
        num_classes: taken from `data.num_classes` where it is not given.

    Raises:
        UserError: an impossible combination, or an unknown number of classes.
    """
    cfg = compose_network(config) if isinstance(config, list) else config
    num_classes = num_classes or cfg.data.num_classes
    if num_classes is None:
        raise UserError(f"data={cfg.data.name} does not say how many classes there are; give data.num_classes=N")
    head: HeadMaker = build(cfg.pooling.head)
    backbone = build(cfg.model.backbone)
    try:
        return Recognizer(
            backbone,
            head,
            fusion=cfg.pooling.fusion,
            frames=cfg.model.clip.frames,
            num_classes=num_classes,
            dropout=cfg.pooling.dropout,
            mean=list(cfg.model.mean),
            std=list(cfg.model.std),
        )
    except ValueError as error:
        raise UserError(f"model={cfg.model.name} pooling={cfg.pooling.name}: {error}") from error


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
            return args[0]
        if getattr(func, "__module__", None) == "torch.nn.init":  # gives back the tensor that it fills
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


def build_data(cfg: DictConfig) -> "VideoData":
    """The data of a configuration: lists read, checked against the inventory, and split by the protocol.

    Raises:
        UserError: something on disk or in the lists is not as it must be.
    """
    # Here, as the data load Lightning, torchvision and decoders, which a network does without.
    from src.data.usable import usable

    lists = usable(build(cfg.data.lists), cfg.modality.name, cfg.data.on_error, cfg.data.flow)
    # Not as an argument of `build`: Hydra would take the dataclass apart.
    data: VideoData = build(cfg.data.module)(lists=lists)
    return data
