"""The typed root of the configuration: a misspelt key in a file or on the command line fails at once.

Components stay plain dictionaries with a `_target_`: their constructor's signature is their schema.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

ROOT = Path(__file__).resolve().parent.parent
CONF = ROOT / "conf"


@dataclass
class ClipSpec:
    """What the network takes: `frames` frames, `stride` apart, in a `crop` x `crop` window.

    The window is cut from frames brought to `frame_size` (width, height), or, with `keep_aspect`, to a short
    side of that height.
    """

    frames: int = MISSING
    stride: int = 1
    crop: int = MISSING
    frame_size: tuple[int, int] = MISSING
    keep_aspect: bool = False


@dataclass
class ModelConfig:
    """A backbone and what belongs to its weights."""

    name: str = MISSING
    clip: ClipSpec = field(default_factory=ClipSpec)
    backbone: dict[str, Any] = MISSING
    reduction: dict[str, str] = MISSING  # the paper's choice, for heads that read full or reduced maps
    mean: Any = MISSING
    std: Any = MISSING
    statistics: dict[str, Any] = MISSING  # modality -> mean and std, on 0..1
    lr: dict[str, float] = MISSING  # optimiser -> the paper's learning rate for fine-tuning
    bert: dict[str, Any] = MISSING
    pretrained: dict[str, Any] = MISSING  # modality -> where the published weights are
    channels_last: bool = False  # memory layout of clips and convolutions: same numbers, another speed


@dataclass
class PoolingConfig:
    """A temporal head, how several pathways meet it, and the dropout behind it."""

    name: str = MISSING
    fusion: str = MISSING  # late | early
    input: str = MISSING  # full | reduced
    head: dict[str, Any] = MISSING
    dropout: float = MISSING


@dataclass
class Row:
    """One line of a table: how its runs differ from `Experiment.common`, or which rows' scores it sums."""

    overrides: list[str] = field(default_factory=list)
    streams: list[str] = field(default_factory=list)  # names of rows; nothing is trained


@dataclass
class Experiment:
    """A table as a sweep: every row at every point of the grid with every seed (src/sweep.py)."""

    name: str = MISSING
    table: str | None = None  # which of experiments/paper.json; rows have the same names there
    title: str = MISSING
    common: list[str] = field(default_factory=list)  # overrides of all rows
    grid: dict[str, list[Any]] = field(default_factory=dict)  # option -> values, all combined
    rows: dict[str, Row] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    overrides: list[str] = field(default_factory=list)  # of the command line, for every job; src.train fills it


@dataclass
class TestConfig:
    """Which views of a video are tested after training, and how many at once."""

    enabled: bool = True
    clips: Any = "all"
    crops: int = 1
    view_batch: int = 8


@dataclass
class Config:
    """Everything that one run is made of."""

    modality: Any = MISSING
    model: ModelConfig = field(default_factory=ModelConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    reduction: Any = MISSING
    weights: Any = MISSING
    data: Any = MISSING
    protocol: Any = MISSING
    recipe: Any = MISSING
    optim: Any = MISSING
    schedule: Any = MISSING
    trainer: Any = MISSING
    logger: Any = None
    early_stopping: int | None = None  # epochs without a better val/loss
    seed: int = 0
    ckpt_path: str | None = None  # resume: last, a run folder, or a .ckpt file
    run_dir: str | None = None  # default: outputs/<date>_<time>_<what>
    test: TestConfig = field(default_factory=TestConfig)
    experiment: Experiment | None = None  # experiments=table1 fills it
    rows: Any = None  # of an experiment: rows=[bert,average]
    seeds: Any = None  # of an experiment: seeds=0,1,2
    dry_run: bool = False  # tell what would run


def register() -> None:
    """Make the schema known to Hydra under the name that conf/train.yaml starts from."""
    ConfigStore.instance().store(name="schema", node=Config)
