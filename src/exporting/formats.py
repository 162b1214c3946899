"""A network as a file that others run: ONNX, torch.export, or safetensors for this project itself.

Every file has the whole recognizer in it, normalisation included: uint8 clips (N, C, T, H, W) in, logits (N, K) out,
for any N.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from src import files
from src.errors import UserError
from src.models.recognizer import Recognizer
from src.models.weights import safetensors
from src.prediction.onnx_file import CLIP, LOGITS


class Portable(nn.Module):
    """A recognizer as a file holds it.

    With half=True the weights of convolutions and linear layers are kept in float16 and used in float32: the file is
    half as large, and runs wherever the other does. (ONNX Runtime 1.32 crashes on 3D convolutions in float16 on CPUs.)
    Biases, batch norms and positions stay as they are: they are few, and variances do not fit into float16.
    """

    def __init__(self, recognizer: Recognizer, half: bool) -> None:
        super().__init__()
        self.recognizer = copy.deepcopy(recognizer).cpu().eval().requires_grad_(False)
        self.recognizer.memory_format = torch.contiguous_format
        self.halved = [name for name, weight in recognizer.named_parameters() if half and _is_matrix(name, weight)]
        for name, weight in self.recognizer.named_parameters():
            weight.data = (weight.half() if name in self.halved else weight).contiguous()

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (N, C, T, H, W) uint8 → logits (N, K) float32."""
        if not self.halved:
            return self.recognizer(clip)  # type: ignore[no-any-return]
        kept = dict(self.recognizer.named_parameters())
        whole = {name: kept[name].float() for name in self.halved}
        return functional_call(self.recognizer, whole, (clip,))  # type: ignore[no-any-return]


def _is_matrix(name: str, weight: Tensor) -> bool:
    return weight.ndim > 1 and name.rpartition(".")[2].endswith("weight")


def write(kind: str, portable: Portable, example: Tensor, texts: Mapping[str, str], path: Path) -> None:
    """Write `path`, whole or not at all.

    kind: of src.exporting.targets.ENDINGS. example: clips that the network takes, of which only the shape counts.

    Raises:
        UserError: PyTorch cannot express the network in this format.
    """
    if kind == "safetensors":
        state = portable.recognizer.state_dict()
        aligned = sorted(state, key=lambda name: -state[name].element_size())  # each at a multiple of its size
        with files.replacing(path) as temporary:
            safetensors.write(temporary, {name: state[name] for name in aligned}, texts)
        return
    program = _program(portable, example, kind)
    with files.replacing(path) as temporary:
        if kind == "onnx":
            model = _onnx_model(program)
            for name, text in texts.items():
                model.metadata_props.add(key=name, value=text)
            temporary.write_bytes(model.SerializeToString())
        else:
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # names folders of this machine
            torch.export.save(program, temporary, extra_files={f"{name}.txt": text for name, text in texts.items()})


def _program(portable: Portable, example: Tensor, kind: str) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1)
    clips = example[:1].repeat(2, 1, 1, 1, 1)  # one clip would be taken for a constant
    try:
        with _plain_operators():
            return torch.export.export(portable, (clips,), dynamic_shapes={"clip": {0: batch}})
    except Exception as error:  # torch.export has many kinds, whose words are for programmers
        raise UserError(
            f"format={kind}: PyTorch cannot export this network ({type(error).__name__}); use format=safetensors"
        ) from error


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Transformers without the fused operators that no other program has, and nothing on the terminal."""
    fast = torch.backends.mha.get_fastpath_enabled()
    level = logging.root.manager.disable
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        logging.disable(level)


def _onnx_model(program: torch.export.ExportedProgram) -> Any:
    """The model as ONNX describes it, without the notes of the exporter, which name folders of this machine."""
    with _plain_operators():
        exported = torch.onnx.export(
            program, dynamo=True, input_names=[CLIP], output_names=[LOGITS], external_data=False, verbose=False
        )
    assert exported is not None
    model = exported.model_proto
    _leave_out_idle_reshapes(model)
    for noted in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""
    for tensor in model.graph.initializer:
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _leave_out_idle_reshapes(model: Any) -> None:
    """Take out the reshapes of a list of numbers to the same list.

    PyTorch puts them behind an LSTM; ONNX does not foresee sizes beyond them, and such a file would be refused.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inferred.value_info}
    idle: dict[str, str] = {}  # output → what it is the same as
    for node in list(model.graph.node):
        if node.op_type == "Reshape" and ranks.get(node.input[0]) == ranks.get(node.output[0]) == 1:
            idle[node.output[0]] = idle.get(node.input[0], node.input[0])
            model.graph.node.remove(node)
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = idle.get(name, name)
