"""Lets Hydra find `experiments=NAME` in the folder experiments/ at the top, beside conf/.

Hydra looks for groups below the folders of its search path, and would take every folder of the repository for a group
if the repository itself were one of them. This source shows the one folder only.
"""

from pathlib import PurePosixPath

from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.search_path_plugin import SearchPathPlugin
from src import plugins
from src.config import EXPERIMENTS

SCHEME = "experiments"


class ExperimentsSource(FileConfigSource):
    """The files of experiments/, as the group `experiments`."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def is_group(self, config_path: str) -> bool:
        return _is_inside(config_path) and super().is_group(config_path)

    def is_config(self, config_path: str) -> bool:
        return _is_inside(config_path) and super().is_config(config_path)

    def available(self) -> bool:
        return EXPERIMENTS.is_dir()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else [EXPERIMENTS.name]
        return super().list(config_path, results_filter) if _is_inside(config_path) else []


def _is_inside(config_path: str) -> bool:
    parts = PurePosixPath(config_path).parts
    return parts[:1] == (EXPERIMENTS.name,) and ".." not in parts


class ExperimentsFolder(SearchPathPlugin):
    """Adds the source, and the user's own folder, to the search path of every command."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append("experiments", f"{SCHEME}://{EXPERIMENTS.parent}")
        own = plugins.folder()
        if own is not None:
            search_path.append("own", f"file://{own}")
