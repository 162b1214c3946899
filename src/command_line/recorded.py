"""The configuration of a run as evaluate and predict use it: what the run recorded, and this command line's options."""

from collections.abc import Sequence

from omegaconf import DictConfig

from src import plugins
from src.build.compose import check
from src.build.recorded import compose_recorded, option_of
from src.command_line.hydra import MISTAKES, explain
from src.command_line.words import normalise
from src.errors import UsageError, UserError
from src.plugins import Plugins

# Testing takes one process on whatever this machine has.
HERE = ("trainer.devices=1", "trainer.num_nodes=1", "trainer.strategy=auto", "trainer.accelerator=auto")


def recorded_configuration(
    recorded: Sequence[str],
    where: object,
    words: Sequence[str],
    own_folder: Plugins | None,
    *,
    needs_data: bool = False,
) -> DictConfig:
    """The checked configuration that recorded overrides give, with options of this command line on top.

    where: the file that they were read from.
    own_folder: the user's own folder that they were composed with.
    needs_data: the data set is read.

    Raises:
        UsageError: an option of this command line does not exist or has a wrong value.
        UserError: a recorded one does, or would bring in other code; the folder is not known here.
    """
    plugins.restore(own_folder, where)
    own = [*HERE, *normalise(words)]
    try:
        return _composed(recorded, own, needs_data)
    except UsageError as error:
        typed = {option_of(word) for word in own}
        try:  # whose fault is it?
            _composed([word for word in recorded if option_of(word) not in typed], HERE, needs_data)
        except UsageError:
            raise UserError(f"{where}: a recorded override cannot be used ({error})") from None
        raise


def _composed(recorded: Sequence[str], own: Sequence[str], needs_data: bool) -> DictConfig:
    try:
        cfg = compose_recorded(recorded, own, needs_data=needs_data)
        check(cfg)
    except MISTAKES as error:
        raise explain(error, [*recorded, *own]) from None
    return cfg
