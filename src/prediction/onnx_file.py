"""A network in an ONNX file, run by ONNX Runtime.

The file may come from anybody. Before ONNX Runtime sees it, it is checked to hold all its values itself (ONNX lets a
file name others to read them from), operators of the standard alone, no loops, and no value that is larger than
LARGEST for one clip.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src import extras
from src.errors import UserError
from src.prediction.exported import Exported, understood
from src.text import first_line, printable

LARGEST_FILE = (1 << 31) - 1  # bytes; protobuf takes no more
LARGEST = 1 << 30  # bytes of one value inside the network, for one clip
STANDARD = ("", "ai.onnx")  # names of the standard's own operators
CLIP, LOGITS = "clip", "logits"  # names of input and output


class OnnxRecognizer(nn.Module):
    """Clips in, class scores out, as src.models.recognizer.Recognizer; on the CPU."""

    mean: Tensor

    def __init__(self, content: bytes, channels: int) -> None:
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.register_buffer("mean", torch.zeros(channels), persistent=False)  # says where the network is

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W) uint8 → logits (N, classes)."""
        (logits,) = self.session.run([LOGITS], {CLIP: clip.contiguous().cpu().numpy()})
        return torch.from_numpy(logits)


def load(path: Path) -> tuple[OnnxRecognizer, Exported]:
    """The network in a file, and what the file says of it.

    Raises:
        UserError: it is damaged, not one of ours, or asks for what a network does not need.
    """
    content = _content(path)
    model = _parsed(path, content)
    known = understood({entry.key: entry.value for entry in model.metadata_props}, path)
    try:
        check(model, known, len(content))
        return OnnxRecognizer(content, _channels(known)), known
    except Exception as error:  # checker, shape inference and runtime have many kinds
        raise UserError(f"{path}: refused: {printable(first_line(error))}; export the network again") from error


def check(model: Any, known: Exported, size: int) -> None:
    """Raise ValueError for a model that is not what `known` says, or needs more than a network; `size`: its bytes."""
    import onnx

    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise ValueError("it has functions, training steps or sparse values of its own")
    if any(used.domain not in STANDARD for used in model.opset_import):
        raise ValueError("it needs operators that are not of the ONNX standard")
    for node in model.graph.node:
        if node.domain not in STANDARD:
            raise ValueError(f"it needs the operator {node.domain}.{node.op_type}, which is not of the ONNX standard")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs or attribute.HasField("sparse_tensor"):
                raise ValueError(f"its operator {node.op_type} has a graph of its own")
            for tensor in (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors):
                _check_tensor(tensor, size)
    for tensor in model.graph.initializer:
        _check_tensor(tensor, size)
    _check_signature(model.graph, known)
    onnx.checker.check_model(model)
    _check_sizes(model)


def _check_tensor(tensor: Any, size: int) -> None:
    import onnx

    if tensor.external_data or tensor.data_location != onnx.TensorProto.DEFAULT:
        raise ValueError(f"the values of {tensor.name} are in another file, and none is read")
    if any(side < 0 for side in tensor.dims) or math.prod(tensor.dims) > size:
        raise ValueError(f"{tensor.name} claims {'x'.join(map(str, tensor.dims))} values, more than the file can hold")


def _check_signature(graph: Any, known: Exported) -> None:
    import onnx

    values = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in values]
    clip = known.clip
    sides = (_channels(known), clip.frames, clip.crop, clip.crop)
    if [value.name for value in inputs] != [CLIP] or [value.name for value in graph.output] != [LOGITS]:
        raise ValueError(f"its input and output are not {CLIP} and {LOGITS}")
    kinds = (
        (inputs[0].type.tensor_type, onnx.TensorProto.UINT8, sides),
        (graph.output[0].type.tensor_type, onnx.TensorProto.FLOAT, (len(known.classes),)),
    )
    for kind, element, expected in kinds:
        found = tuple(side.dim_value for side in kind.shape.dim)
        if kind.elem_type != element or found != (0, *expected):  # 0: left open
            raise ValueError(f"it takes or gives {found}, and says that it is {expected} for any number of clips")


def _check_sizes(model: Any) -> None:
    """Raise ValueError where a value inside the network is too large for one clip, or cannot be foreseen."""
    import onnx

    one = onnx.ModelProto()
    one.CopyFrom(model)
    del one.graph.value_info[:]  # what the file claims
    for value in (*one.graph.input, *one.graph.output):
        if value.name in (CLIP, LOGITS):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    inferred = onnx.shape_inference.infer_shapes(one, check_type=True, strict_mode=True, data_prop=True)
    shapes = {value.name: value.type.tensor_type for value in (*inferred.graph.value_info, *inferred.graph.output)}
    for node in inferred.graph.node:
        for name in node.output:
            if not name:
                continue
            kind = shapes.get(name)
            sides = [] if kind is None else [side.dim_value for side in kind.shape.dim if side.HasField("dim_value")]
            if kind is None or not kind.HasField("shape") or len(sides) != len(kind.shape.dim):
                raise ValueError(f"the size of {name} cannot be foreseen")
            if 8 * math.prod(sides) > LARGEST:
                raise ValueError(f"{name} has {'x'.join(map(str, sides))} values, too many for one clip")


def _channels(known: Exported) -> int:
    return 2 if known.modality == "flow" else 3


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"{path}: {path.stat().st_size / 1e9:.1f} GB is too large for an ONNX file")
    return path.read_bytes()


def _parsed(path: Path, content: bytes) -> Any:
    extras.require(str(path), "export", "onnx", "onnxruntime")
    import onnx

    try:
        return onnx.load_model_from_string(content)  # reads no other file
    except Exception as error:  # of protobuf
        raise UserError(f"{path}: damaged, or not an ONNX file; export the network again") from error
