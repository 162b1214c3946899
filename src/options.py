"""Every option of a run, once: which values it takes, and whether it defines the run.

Defaults are in `conf/`; this module says what may replace them. An option defines a run if another value makes
another run (src/runs/identity.py); the others say where, how fast or how loudly the same run is made. A test lists
`conf/` and asks that every option is declared here.

Arguments of components that conf/ does not have (`+optim.optimizer.betas=…`) are checked by their constructors.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from src.errors import UsageError
from src.text import listed, printable

MOST = 10**9


@dataclass(frozen=True)
class Values:
    """What an option takes: a description that ends the sentence "it takes …", a test, and a value that works.

    choices: all values, where they are few.
    """

    what: str
    accepts: Callable[[Any], bool]
    example: object
    choices: tuple[Any, ...] = ()


def typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return printable(value).replace(" ", "") if isinstance(value, list) else printable(value)


def whole(lowest: int, highest: int | None = None) -> Values:
    """Whole numbers of a range, which ends where nobody means the number any more if nothing else ends it."""
    top = MOST if highest is None else highest
    what = f"a whole number from {lowest} to {top}"
    return Values(what, lambda v: type(v) is int and lowest <= v <= top, max(lowest, min(1, top)))


def number(above: float, highest: float | None = None, *, closed: bool = False) -> Values:
    """Finite numbers above (or, closed, from) a bound."""
    top = math.inf if highest is None else highest
    low = "" if above == -math.inf else f" {'from' if closed else 'above'} {above:g}"
    what = f"a number{low}" + ("" if highest is None else f" to {highest:g}")

    def accepts(value: Any) -> bool:
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        return bool((above <= value if closed else above < value) and value <= top)

    return Values(what, accepts, 0.1 if highest is None else (above + highest) / 2)


def one_of(*choices: Any) -> Values:
    """One of a few values; True is not taken for 1."""
    shown = listed([typed(choice) for choice in choices], 20)
    return Values(f"one of {shown}", lambda v: any(_same(v, c) for c in choices), choices[0], choices)


def _same(value: Any, choice: Any) -> bool:
    return type(value) is type(choice) and bool(value == choice)


def nothing(reason: str) -> Values:
    """Options of Lightning's that a run cannot have."""
    return Values(f"no value: {reason}", lambda v: False, None)


def optional(values: Values) -> Values:
    """The same, or null."""
    return Values(f"{values.what}, or null", lambda v: v is None or values.accepts(v), values.example, values.choices)


def either(*several: Values) -> Values:
    """What any of several kinds takes."""
    what = ", or ".join(values.what for values in several)
    return Values(what, lambda v: any(values.accepts(v) for values in several), several[0].example)


def many(values: Values, size: int | None = None) -> Values:
    """A list of such values."""

    def accepts(value: Any) -> bool:
        right = isinstance(value, list) and (len(value) == size if size else len(value) > 0)
        return right and all(values.accepts(element) for element in value)

    example = [values.example] * (size or 1)
    return Values(f"a list{f' of {size}' if size else ''}, each {values.what}", accepts, example)


def _are_columns(value: Any) -> bool:
    if not isinstance(value, list) or not {"path", "label"} <= {str(name) for name in value}:
        return False
    named = [name for name in value if name != "-"]
    return set(named) <= set(COLUMN_NAMES) and len(set(named)) == len(named)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


FLAG = one_of(True, False)
TEXT = Values("a text", lambda v: isinstance(v, str) and v != "", "text")
PATH = Values("a path", lambda v: isinstance(v, str | int) and v != "" and not isinstance(v, bool), "DIR")
NONE_AUTO_OR_PATH = Values("none, auto, or a path", PATH.accepts, "auto")
NAME = Values("a text", lambda v: isinstance(v, str | int) and not isinstance(v, bool), "NAME")
ANYTHING = Values("any value", lambda v: True, None)
RATE = Values("a probability in [0, 1)", lambda v: type(v) in (int, float) and 0 <= v < 1, 0.5)
PATTERN = Values("a regular expression", lambda v: isinstance(v, str) and _compiles(v), "^(.+)_c")
LIMIT = Values(
    "a share of the batches (0.0 to 1.0) or a number of batches",
    lambda v: (type(v) is float and 0 <= v <= 1) or (type(v) is int and v >= 0),
    1.0,
)
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true", "64-true", "transformer-engine")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_static_graph", "fsdp")
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps", "tpu", "hpu")
SET_BY_LOOP = ("callbacks", "logger", "plugins", "default_root_dir", "enable_model_summary", "use_distributed_sampler")
SHARE = Values("a number above 0 and below 1", lambda v: type(v) is float and 0 < v < 1, 0.1)
SEED = whole(0, 2**32 - 1)
WORKERS = whole(0, 1024)  # more would stop a machine before they start
DEVICES = either(whole(1, 1024), one_of("auto", -1, "-1"))
MEASURED = ("val/loss", "val/top1", "val/top3", "val/top5", "val/mean_class", "val/macro_f1", "val/map")
SIZES = many(whole(1))
COLUMN_NAMES = ("path", "label", "group", "split", "frames", "start", "-")  # of a list; - means nothing here
COLUMNS = Values(
    f"a list of {', '.join(COLUMN_NAMES)} with path and label, none twice but -",
    _are_columns,
    ["path", "frames", "label"],
)
BACKBONE_NUMBERS = (
    *("in_channels", "stem_width", "cardinality", "width", "fast_stride", "alpha", "beta_inverse"),
    *("lateral_ratio", "lateral_time"),
)
BRANCHES = many(whole(1), 6)  # widths of an Inception module


@dataclass(frozen=True)
class Option:
    """One option, or all whose names match a pattern.

    defines: whether another value makes another run.
    since: for an option that was added later: the value that means what runs did before it existed. It leaves the
        hash of a run as it was.
    """

    values: Values
    defines: bool = True
    since: Any = ...


EFFECT = {  # another value, another run
    "seed": SEED,
    "early_stopping": optional(whole(1)),
    "on_divergence": one_of("stop", "continue"),
    "test.enabled": FLAG,
    "test.clips": either(one_of("all"), whole(1)),
    "test.crops": one_of(1, 3, 10),
    "modality.name": one_of("rgb", "flow"),
    "modality.channels": whole(1),
    "model.name": TEXT,
    "model.clip.frames": whole(1),
    "model.clip.stride": whole(1),
    "model.clip.crop": whole(1),
    "model.clip.frame_size": many(whole(1), 2),
    "model.clip.keep_aspect": FLAG,
    "model.mean": many(number(-math.inf)),
    "model.std": many(number(0)),
    "model.backbone.*": ANYTHING,
    "model.backbone.reduction": one_of("none", "frmb", "frab"),
    "model.backbone.fusion": one_of("late", "early"),
    "model.backbone.norm_eps": number(0),
    "model.backbone.norm_momentum": number(0, 1),
    **{f"model.backbone.{name}": whole(1) for name in BACKBONE_NUMBERS},
    **{f"model.backbone.{name}": SIZES for name in ("blocks", "widths", "kernels", "strides", "stem")},
    "model.backbone.reduced_channels": either(whole(1), SIZES),  # one, or one for each pathway
    "model.backbone.stages": many(many(BRANCHES)),
    "model.backbone.reduced": BRANCHES,
    "pooling.name": TEXT,
    "pooling.fusion": one_of("late", "early"),
    "pooling.dropout": RATE,
    "pooling.head.*": ANYTHING,
    "pooling.head.layers": whole(1),
    "pooling.head.heads": whole(1),
    "pooling.head.queries": whole(1),
    "pooling.head.hidden": optional(whole(1)),
    "pooling.head.inner": optional(whole(1)),
    "pooling.head.cls_token": one_of("learned", "pooled"),
    "pooling.head.mask_rate": RATE,
    "pooling.head.*dropout": RATE,
    "pooling.head.init_std": optional(number(0)),
    "pooling.head.normalize_tokens": FLAG,
    "reduction.kind": one_of("none", "frmb", "frab"),
    "weights.kind": one_of(None, "published", "file"),
    "weights.path": PATH,
    "weights.source": optional(ANYTHING),
    "weights.source.file": TEXT,
    "weights.source.sha256": optional(NAME),
    "protocol.name": one_of("holdout", "paper"),
    "protocol.fraction": optional(SHARE),
    "recipe.name": TEXT,
    "recipe.batch_size": whole(1),
    "optim.name": TEXT,
    "optim.optimizer.lr": number(0),
    "optim.optimizer.weight_decay": number(0, closed=True),
    "optim.optimizer.momentum": RATE,
    "optim.optimizer.*": ANYTHING,
    "schedule.name": TEXT,
    "schedule.monitor": optional(one_of(*MEASURED)),
    "schedule.scheduler": optional(ANYTHING),
    "schedule.scheduler.T_max": whole(1),
    "schedule.scheduler.mode": one_of("min", "max"),
    "schedule.scheduler.patience": whole(0),
    "schedule.scheduler.factor": SHARE,
    "schedule.scheduler.*": ANYTHING,
    "trainer.devices": DEVICES,
    "trainer.num_nodes": whole(1),
    "trainer.precision": one_of(*PRECISIONS),
    "trainer.max_epochs": whole(1),
    "trainer.accumulate_grad_batches": whole(1),
    "trainer.gradient_clip_val": optional(number(0)),
    "trainer.sync_batchnorm": FLAG,
    "trainer.deterministic": FLAG,
    "trainer.limit_train_batches": LIMIT,
    "trainer.limit_val_batches": LIMIT,
    "trainer.limit_test_batches": LIMIT,
    "trainer.max_steps": whole(-1),
    "trainer.check_val_every_n_epoch": whole(1),
    "trainer.overfit_batches": nothing(
        "clips are drawn anew for each epoch; limit them with trainer.limit_train_batches=N"
    ),
    **{f"trainer.{name}": nothing("the program sets it") for name in SET_BY_LOOP},
    "data.name": TEXT,
    "data.num_classes": optional(whole(2)),
    "data.split": optional(whole(1)),
    "data.on_error": one_of("raise", "skip"),
    "data.flow": NAME,
    "data.flip": FLAG,
    "data.scales": many(number(0, 1)),
    "data.set_seed": SEED,
    "data.train": whole(1),
    "data.val": whole(1),
    "data.test": whole(1),
    "data.frames": whole(1),
    "data.size": whole(1),
    "data.test_fraction": SHARE,
    "data.split_seed": SEED,
    "data.allow_missing": FLAG,
    "data.lists.*": ANYTHING,
}

ADDED = {  # later: values, and the one that means what runs did before
    "weights.layout": (optional(ANYTHING), None),
    "weights.layout.*": (ANYTHING, None),
    "weights.source.layout": (optional(ANYTHING), None),
    "weights.source.layout.*": (ANYTHING, None),
    "freeze.kind": (one_of("none", "backbone", "stages"), "none"),
    "freeze.last": (optional(TEXT), None),
    "data.multilabel": (FLAG, False),
    "features.keep": (one_of("auto", "tokens", "maps"), "auto"),
    "features.clips": (whole(1), 4),
    "features.dtype": (one_of("float32", "float16"), "float32"),
    "features.precision": (one_of("32-true", "bf16-mixed", "16-mixed"), "32-true"),
    "model.clip.sampling": (one_of("dense", "segments"), "dense"),
    "model.clip.fps": (optional(number(0)), None),
    "data.test_on": (one_of("validation", "test"), "validation"),
    "data.flip_labels": (NONE_AUTO_OR_PATH, "none"),
    "recipe.label_smoothing": (RATE, 0),
    "recipe.class_weights": (one_of(None, "inverse"), None),
    "recipe.sampling": (one_of("shuffled", "balanced"), "shuffled"),
    "recipe.repeats": (whole(1), 1),
    "recipe.rand_augment": (whole(0), 0),
    "recipe.rand_magnitude": (whole(0, 30), 9),
    "recipe.erasing": (number(0, 1, closed=True), 0),
    "recipe.mixup": (number(0, closed=True), 0),
    "recipe.cutmix": (number(0, closed=True), 0),
    "recipe.warmup": (number(0, closed=True), 0),
    "recipe.interval": (one_of("epoch", "step"), "epoch"),
    "recipe.layer_decay": (number(0, 1), 1),
    "recipe.unfreeze": (whole(0), 0),
    "recipe.batch_norm": (one_of("train", "statistics", "fixed"), "train"),
    "recipe.ema": (optional(SHARE), None),
}

NO_EFFECT = {  # where, how fast or how loudly the same run is made; and what only prepares options above
    "run_dir": optional(PATH),
    "ckpt_path": optional(PATH),
    "dry_run": FLAG,
    "rows": ANYTHING,
    "seeds": ANYTHING,
    "experiment": ANYTHING,
    "experiment.*": ANYTHING,
    "logger": ANYTHING,
    "logger.wandb.mode": one_of("auto", "online", "offline", "disabled"),
    "logger.*": ANYTHING,
    "requeue": FLAG,
    "test.view_batch": whole(1),
    "test.order": FLAG,
    "model.channels_last": either(FLAG, many(one_of("cpu", "cuda"))),
    "model.checkpointing": FLAG,
    "model.reduction.*": TEXT,
    "model.statistics": ANYTHING,
    "model.statistics.*": ANYTHING,
    "model.lr.*": number(0),
    "model.bert.*": ANYTHING,
    "model.published": ANYTHING,
    "model.pretrained": optional(ANYTHING),
    "model.pretrained.*": ANYTHING,
    "optim.optimizer.fused": FLAG,
    "features.cache": FLAG,
    "features.root": optional(PATH),
    "weights.source.url": optional(TEXT),
    "weights.source.how": TEXT,
    "weights.source.package": optional(TEXT),
    "weights.source.fallback": optional(NAME),
    "pooling.input": one_of("full", "reduced"),
    "recipe.lr.*": number(0),
    "recipe.dropout.*": RATE,
    "recipe.rates.*": RATE,
    "recipe.epochs": whole(1),
    "recipe.accumulate": whole(1),
    "recipe.gradient_clip": optional(number(0)),
    "trainer.accelerator": one_of(*ACCELERATORS),
    "trainer.strategy": one_of(*STRATEGIES),
    "trainer.benchmark": FLAG,
    "trainer.compile": FLAG,
    "trainer.enable_progress_bar": FLAG,
    "trainer.profile": FLAG,
    "trainer.log_every_n_steps": whole(1),
    "trainer.num_sanity_val_steps": whole(0),
    "data.root": optional(PATH),
    "data.decoder": one_of("pyav", "decord"),
    "data.workers": optional(WORKERS),
    "data.allow_overlap": FLAG,
    "data.check_counts": FLAG,
    "data.csv": optional(PATH),
    "data.group_pattern": optional(PATTERN),
    "data.list_folder": optional(PATH),
    "data.train_list": optional(PATH),
    "data.val_list": optional(PATH),
    "data.columns": optional(COLUMNS),
    "data.test_list": optional(PATH),
    "data.class_names": optional(PATH),
    "data.own_lists": FLAG,
}

OF_PREPARE = {  # of src.prepare and src.features, which make no run
    "archives": optional(PATH),
    "workers": optional(whole(1)),
    "limit_s": number(0),
    "retry_bad": FLAG,
    "features.export": optional(PATH),  # of src.features
    "flow.method": optional(NAME),
    "flow.algorithm": one_of("tvl1", "dis"),
    "flow.settings.*": ANYTHING,
    "flow.size": optional(many(whole(1), 2)),
    "flow.format": one_of("video", "frames"),
    "flow.crf": whole(0, 51),
    "flow.device": one_of(None, "cpu", "cuda"),
    "flow.limit_s": number(0),
}

OPTIONS: dict[str, Option] = {
    **{name: Option(values) for name, values in EFFECT.items()},
    **{name: Option(values, since=before) for name, (values, before) in ADDED.items()},
    **{name: Option(values, defines=False) for name, values in (NO_EFFECT | OF_PREPARE).items()},
}


def declared(name: str) -> Option | None:
    """The declaration of an option: its own, else that of the longest pattern that its name matches."""
    if name in OPTIONS:
        return OPTIONS[name]
    patterns = [pattern for pattern in OPTIONS if "*" in pattern and fnmatchcase(name, pattern)]
    return OPTIONS[max(patterns, key=len)] if patterns else None


def leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted option, value) of a resolved configuration; lists are values, `_target_` and its kind are left out."""
    if not isinstance(node, Mapping) or (name and not node):
        yield name, node
        return
    for key, value in node.items():
        if not str(key).startswith("_"):
            yield from leaves(value, f"{name}.{key}" if name else str(key))


def check(config: Mapping[str, Any]) -> None:
    """Refuse the first option of a configuration whose value is of the wrong type or out of range.

    Values that are taken from elsewhere (`${…}`) are left alone: check the resolved configuration as well.

    Raises:
        UsageError: names the option, its value, what it takes, and a value that works.
    """
    groups = {name.rpartition(".")[0] for name in OPTIONS}
    for name, value in leaves(config):
        if "${" in str(value):
            continue
        option, parent = declared(name), name.rpartition(".")[0]
        if name in groups and name not in OPTIONS:
            raise UsageError(f"{name}={typed(value)}: {name} is a group of options, not a value; --cfg job lists them")
        if option is None and parent in OPTIONS and parent not in groups:  # options in the place of a value
            raise _wrong(name, value, parent, OPTIONS[parent])
        if option is not None and not option.values.accepts(value):
            raise _wrong(name, value, name, option)


def _wrong(name: str, value: Any, option_name: str, option: Option) -> UsageError:
    values = option.values
    return UsageError(
        f"{name}={typed(value)}: {option_name} takes {values.what}; {_example(option_name, value, values)}"
    )


def _example(name: str, value: Any, values: Values) -> str:
    """A value that works: a choice that is spelt nearly like the wrong one, else the option's example."""
    if not values.accepts(values.example):
        return "leave it out"
    near = difflib.get_close_matches(str(value), [typed(choice) for choice in values.choices], 1)
    return f"for example {name}={near[0] if near else typed(values.example)}"
