"""conf/ and the code it names agree: a constructor's signature is the schema of its node."""

import inspect

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf
from pytorch_lightning import Trainer
from src.build.compose import compose
from src.config import CONF
from src.training import loop

HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
OURS = ("src.", "torch.", "pytorch_lightning.")


def nodes(content, where=()):
    """All mappings with a `_target_` in a file, with their place in it."""
    if isinstance(content, dict):
        if "_target_" in content:
            yield ".".join(where) or ".", content
        for key, value in content.items():
            yield from nodes(value, (*where, str(key)))
    elif isinstance(content, list):
        for i, value in enumerate(content):
            yield from nodes(value, (*where, str(i)))


TARGETS = [
    pytest.param(node, id=f"{path.relative_to(CONF)}:{where}")
    for path in sorted(CONF.rglob("*.yaml"))
    for where, node in nodes(OmegaConf.to_container(OmegaConf.load(path), resolve=False))
    # A reader takes the options beside it, see below; launchers and searches belong to extras.
    if path.parent.name != "data" and node["_target_"].startswith(OURS)
]


@pytest.mark.parametrize("node", TARGETS)
def test_keys_are_the_constructors_arguments(node):
    target = get_object(node["_target_"])
    parameters = inspect.signature(target).parameters
    keys = set(node) - HYDRA_KEYS - (set(loop.OURS) if target is Trainer else set())
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        assert keys <= set(parameters), f"not arguments of {node['_target_']}: {keys - set(parameters)}"
    if node["_target_"].startswith("src."):
        # What is known only at run time has no default; every setting stands in the file.
        unlisted = {name for name, p in parameters.items() if p.default is not p.empty} - keys
        assert not unlisted, f"not listed: {unlisted}"


@pytest.mark.parametrize("file", sorted((CONF / "data").glob("*.yaml")), ids=lambda file: file.stem)
def test_what_a_reader_takes_are_options_of_its_data_set(file):
    if file.stem == "base":
        assert "lists" not in OmegaConf.load(file)
        return
    data = compose([f"data={file.stem}"]).data
    parameters = set(inspect.signature(get_object(data.lists._target_)).parameters)
    assert parameters <= {*data, "modality", "training"}, "src/build/data.py has nothing to give for the others"


def test_there_is_something_to_check():
    assert len(TARGETS) >= 10
