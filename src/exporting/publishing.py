"""A run's network on the hub: weights, configuration and page, in one commit."""

from src import files
from src.exporting import card
from src.exporting.export import export
from src.prediction import hub
from src.prediction.exported import Exported
from src.prediction.network import Network
from src.runs.folder import RunFolder


def publish(network: Network, folder: RunFolder, about: Exported, name: str) -> str:
    """Upload a run's network; returns its address.

    Raises:
        UserError: the run has not been tested, the exported file differs from the network, or the hub refuses.
    """
    page = card.card(folder, about, [hub.WEIGHTS])
    folder.exports.mkdir(exist_ok=True)
    with files.scratch(folder.exports, "hub") as place:
        contents = {path: place / path for path in (hub.WEIGHTS, hub.CONFIG, hub.PAGE)}
        export(network, about, "safetensors", contents[hub.WEIGHTS])
        files.write_json(contents[hub.CONFIG], about.fields())  # for those who read no headers
        files.write_text(contents[hub.PAGE], page)
        return hub.push(name, contents)
