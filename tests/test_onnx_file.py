"""ONNX files: what ONNX Runtime makes of a network, and files that somebody has made to do harm."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from src import predict
from src.errors import UserError
from src.exporting import checking
from src.prediction import onnx_file

from tests.conftest import write_video
from tests.networks import clips, export, opened, random_network
from tests.small_runs import exit_of
from tests.tiny import models, options, tiny

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
helper, DEFAULT = onnx.helper, onnx.TensorProto.DEFAULT

PAIRS = [(model, pooling) for model in models() for pooling in options("pooling")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "net.onnx"
    result = export(random_network(*tiny("tiny"), "pooling=bert"), "onnx", out)
    assert result.difference < 1e-4
    assert result.same_top1 == result.number == 4
    assert result.clips == "4 clips of the embedded data"
    return out


def test_any_number_of_clips_and_all_that_is_needed_to_use_it(exported: Path) -> None:
    session = onnxruntime.InferenceSession(str(exported))
    (clip,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (clip.name, clip.type, clip.shape) == ("clip", "tensor(uint8)", ["batch", 3, 16, 32, 32])
    assert (logits.name, logits.type, logits.shape) == ("logits", "tensor(float)", ["batch", 5])
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["classes"]) == [f"class {i}" for i in range(5)]
    assert json.loads(said["clip"])["crop"] == 32
    assert said["licence"] == "CC0"
    assert len(said["sha256"]) == 64
    found = random_network(*tiny("tiny"), "pooling=bert")
    for count in (1, 2, 5):
        some = clips(count, found)
        (got,) = session.run(None, {"clip": some.numpy()})
        np.testing.assert_allclose(got, found.recognizer(some).numpy(), rtol=1e-3, atol=1e-4)


def test_the_file_does_not_tell_where_it_was_made(exported: Path) -> None:
    content = exported.read_bytes()
    for word in (b"site-packages", b"/work", b"/home", str(Path(torch.__file__).parent).encode(), b"stack_trace"):
        assert word not in content


def test_predict_takes_the_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "v.mp4", 40, g="8", bf="0")
    assert exit_of(predict.COMMAND, predict.predict, f"run={exported}", f"video={video}", "top=5") == 0
    printed = capsys.readouterr().out
    assert "2 views" in printed
    assert all(f"class {i}" in printed for i in range(5))
    assert exit_of(predict.COMMAND, predict.predict, f"run={exported}", f"video={video}", "model.clip.frames=8") == 1
    assert "leave model.clip=" in capsys.readouterr().err


def test_it_has_no_inside(exported: Path) -> None:
    with pytest.raises(UserError, match="gives logits alone"):
        opened(f"run={exported}").with_parts()


def external(model: Any) -> None:
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../secret.bin"), ("offset", "0"), ("length", "64")):
        tensor.external_data.add(key=key, value=value)


def external_attribute(model: Any) -> None:
    constant = helper.make_node("Constant", [], ["extra"], value=onnx.TensorProto(data_type=1, dims=[4]))
    external_tensor = constant.attribute[0].t
    external_tensor.data_location = onnx.TensorProto.EXTERNAL
    external_tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.node.insert(0, constant)


def promise(model: Any) -> None:
    model.graph.initializer.add(name="extra", data_type=1, dims=[1 << 20, 1 << 20])


def bomb(model: Any) -> None:
    shape = helper.make_tensor("much", onnx.TensorProto.INT64, [2], [1 << 17, 1 << 17])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["much"], ["bomb"]))


def hidden_bomb(model: Any) -> None:
    """The size follows from the clip's pixels."""
    model.graph.node.append(helper.make_node("NonZero", ["clip"], ["places"]))


def steps(model: Any) -> None:
    """A bomb in small steps, each of which doubles."""
    one = helper.make_tensor("one", 1, [1, 1024], [1.0] * 1024)
    model.graph.initializer.append(one)
    name = "one"
    for step in range(24):
        model.graph.node.append(helper.make_node("Concat", [name, name], [f"double{step}"], axis=0))
        name = f"double{step}"


def loop(model: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("If", ["clip"], ["x"], then_branch=body, else_branch=body))


def foreign_operator(model: Any) -> None:
    model.opset_import.add(domain="com.evil", version=1)
    model.graph.node.append(helper.make_node("Run", ["clip"], ["x"], domain="com.evil"))


def function(model: Any) -> None:
    model.functions.add(name="f", domain="")


def other_clip(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 17


def no_operator(model: Any) -> None:
    model.graph.node[0].op_type = "Nonsense"


def more_classes(model: Any) -> None:
    for entry in model.metadata_props:
        if entry.key == "classes":
            entry.value = json.dumps(["a", "b"])


HARM = [
    *(external, external_attribute, promise, bomb, hidden_bomb, steps),
    *(loop, foreign_operator, function, other_clip, no_operator, more_classes),
]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_file_that_asks_for_more_is_refused(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Any], None]
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("ONNX Runtime has seen the file")

    monkeypatch.setattr(onnx_file, "OnnxRecognizer", never)
    model = onnx.load(exported)
    harm(model)
    (tmp_path / "secret.bin").write_bytes(b"secret" * 1000)
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "net.onnx"
    file.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match=r"net\.onnx") as error:
        opened(f"run={file}")
    assert "has seen" not in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_onnx_file_is_refused(exported: Path, tmp_path: Path) -> None:
    content = exported.read_bytes()
    plain = onnx.load(exported)
    del plain.metadata_props[:]
    others = [b"", b"nonsense", content[: len(content) // 2], b"\x00" * 1000, plain.SerializeToString()]
    file = tmp_path / "net.onnx"
    for other in others:
        file.write_bytes(other)
        with pytest.raises(UserError, match=r"net\.onnx"):
            opened(f"run={file}")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "pooling"), PAIRS)
def test_every_pair(tmp_path: Path, model: str, pooling: str) -> None:
    assert export(random_network(*tiny(model), f"pooling={pooling}"), "onnx", tmp_path / "net.onnx").difference < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("model", "pooling"), [*((model, "bert") for model in models()), ("tiny", "lstm")])
def test_other_formats_precisions_and_flow(tmp_path: Path, model: str, pooling: str) -> None:
    found = random_network(*tiny(model), f"pooling={pooling}", "modality=flow")
    for kind, ending in (("onnx", ".onnx"), ("torch_export", ".pt2"), ("safetensors", ".safetensors")):
        for precision in ("float32", "float16"):
            result = export(found, kind, tmp_path / f"{precision}{ending}", precision)
            assert result.difference < 1e-4
            assert (result.rounding is None) == (precision == "float32")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnext101", "i3d", "slowfast", "r2plus1d"])
@pytest.mark.parametrize("pooling", ["average", "bert_late_fusion", "bert_early_fusion"])
def test_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, pooling: str) -> None:
    monkeypatch.setattr(checking, "CLIPS", 1)
    found = random_network(f"model={model}", f"pooling={pooling}", "data=kinetics400")
    if found.cfg.model.channels_last:
        found.with_parts().channels_last()
    assert export(found, "onnx", tmp_path / "net.onnx").difference < 1e-3
