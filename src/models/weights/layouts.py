"""The layouts of published checkpoints: the tensor names each is known by, and what they are called here."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from src.models.backbones.backbone import Backbone
from src.models.backbones.i3d import I3D
from src.models.backbones.r2plus1d import R2Plus1D
from src.models.backbones.resnext import ResNeXt
from src.models.backbones.slowfast import SlowFast
from src.models.backbones.torchvision import S3D, VideoResNet
from src.models.backbones.torchvision_transformers import MViT, Swin
from src.models.backbones.transformers import VJEPA2, VideoMAE

Rules = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Layout:
    """One naming scheme.

    backbone: the class that it fits; None fits any.
    marks: names by which a checkpoint of this layout is recognised.
    rules: regular expressions and replacements that turn its names into ours, applied one after the other.
    pretrained: it holds a backbone with its own classifier: head and reduction keep their initial values.
    optional: starts of our names of tensors that networks of this backbone need not have.
    has_flow: flow weights are published as well, so that RGB ones are never converted for flow.
    leave_out: regular expressions of tensors, by their names in the file, that are no part of the network.
    """

    name: str
    backbone: type[Backbone] | None
    marks: tuple[str, ...]
    rules: Rules
    pretrained: bool = False
    has_flow: bool = False
    optional: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()

    def leaves_out(self, name: str) -> bool:
        """Whether the tensor `name` is no part of the network."""
        return any(re.search(pattern, name) for pattern in self.leave_out)

    def target(self, name: str) -> str | None:
        """Our name of the tensor `name`; None if the layout has no such tensor."""
        for pattern, replacement in self.rules:
            name = re.sub(pattern, replacement, name)
        return name if re.match(r"(backbone|pooling|classifier)\.", name) else None


def numbered(theirs: str, ours: str, numbers: Iterable[int], start: int = 0) -> Rules:
    """One rule per number: `theirs` followed by it becomes `ours` followed by a count from `start`."""
    return tuple((rf"^{theirs}{n}(?=[._])", f"{ours}{i}") for i, n in enumerate(numbers, start))


# The authors' heads. Names that end in #0, #1, #2 are the thirds of one tensor here: query, key and value.
BERT: Rules = (
    (r"^bert(_slow)?\.", "pooling.heads.0."),
    (r"^bert_fast\.", "pooling.heads.1."),
    (r"\.clsToken$", ".cls"),
    (r"\.embedding\.learnedPosition\.pe$", ".positions"),
    (r"\.transformer_blocks\.", ".layers."),
    (r"\.attention\.linear_layers\.([012])\.(weight|bias)$", r".self_attn.in_proj_\2#\1"),
    (r"\.attention\.output_linear\.", ".self_attn.out_proj."),
    (r"\.feed_forward\.w_([12])\.", r".linear\1."),
    (r"\.input_sublayer\.norm\.", ".norm1."),
    (r"\.output_sublayer\.norm\.", ".norm2."),
    (r"\.b_2$", ".bias"),
)
UNBIASED_SCALE = re.compile(r"\.a_2$")  # has no rule, as its values change as well (see translation.assemble)
HEADS: Rules = (
    *BERT,
    (r"^lstm\.", "pooling.heads.0.lstm."),
    (r"^NLB\.W_z\.0\.", "pooling.heads.0.block.output."),
    (r"^NLB\.W_z\.1\.", "pooling.heads.0.block.norm."),
    (r"^NLB\.", "pooling.heads.0.block."),
    (r"^linear\.", "pooling.heads.0.linear."),
    (r"^fc_action\.", "classifier."),
)
RESIDUAL: Rules = (  # bottlenecks of both SlowFast namings
    (r"\.branch1(_conv)?\.", ".downsample.0."),
    (r"\.branch1_(bn|norm)\.", ".downsample.1."),
    (r"\.branch2\.(conv_)?a\.", ".conv1."),
    (r"\.branch2\.(conv_)?b\.", ".conv2."),
    (r"\.branch2\.(conv_)?c\.", ".conv3."),
    (r"\.branch2\.(a_bn|norm_a)\.", ".bn1."),
    (r"\.branch2\.(b_bn|norm_b)\.", ".bn2."),
    (r"\.branch2\.(c_bn|norm_c)\.", ".bn3."),
)
PYSLOWFAST: Rules = (
    (r"^(?:model\.)?s1\.pathway([01])_stem\.conv\.", r"backbone.stems.\1.0."),
    (r"^(?:model\.)?s1\.pathway([01])_stem\.bn\.", r"backbone.stems.\1.1."),
    (r"^(?:model\.)?head\.projection\.", "classifier."),
    (r"^(?:model\.)?s1_fuse\.", "backbone.laterals.0."),
    (r"^(?:model\.)?s2_fuse\.", "backbone.laterals.1."),
    (r"^(?:model\.)?s3_fuse\.", "backbone.laterals.2."),
    (r"^(?:model\.)?s4_fuse\.", "backbone.laterals.3."),
    (r"^(backbone\.laterals\.\d)\.conv_f2s\.", r"\1.0."),
    (r"^(backbone\.laterals\.\d)\.bn\.", r"\1.1."),
    *numbered(r"(?:model\.)?s", "backbone.stages.", range(2, 6)),
    (r"\.pathway([01])_res(\d+)\.", r".\1.\2."),
    *RESIDUAL,
)
PYTORCHVIDEO: Rules = (
    (r"^blocks\.0\.multipathway_blocks\.([01])\.conv\.", r"backbone.stems.\1.0."),
    (r"^blocks\.0\.multipathway_blocks\.([01])\.norm\.", r"backbone.stems.\1.1."),
    (r"^blocks\.([0-3])\.multipathway_fusion\.conv_fast_to_slow\.", r"backbone.laterals.\1.0."),
    (r"^blocks\.([0-3])\.multipathway_fusion\.norm\.", r"backbone.laterals.\1.1."),
    (r"^blocks\.6\.proj\.", "classifier."),
    *numbered(r"blocks\.", "backbone.stages.", range(1, 5)),
    (r"\.multipathway_blocks\.([01])\.res_blocks\.", r".\1."),
    *RESIDUAL,
)
PYTORCH_I3D: Rules = (
    (r"\.conv3d\.", ".conv."),
    (r"^logits\.conv\.", "classifier."),
    (r"^Conv3d_1a_7x7\.", "backbone.stem.0."),
    (r"^Conv3d_2b_1x1\.", "backbone.stem.2."),
    (r"^Conv3d_2c_3x3\.", "backbone.stem.3."),
    # The pooling in front of a stage is its layer 0, and "a" in their names.
    (r"^Mixed_3b\.", "backbone.stages.0.1."),
    (r"^Mixed_3c\.", "backbone.stages.0.2."),
    (r"^Mixed_4b\.", "backbone.stages.1.1."),
    (r"^Mixed_4c\.", "backbone.stages.1.2."),
    (r"^Mixed_4d\.", "backbone.stages.1.3."),
    (r"^Mixed_4e\.", "backbone.stages.1.4."),
    (r"^Mixed_4f\.", "backbone.stages.1.5."),
    (r"^Mixed_5b\.", "backbone.stages.2.1."),
    (r"^Mixed_5c\.", "backbone.stages.2.2."),
)
I3D_RELEASE: Rules = (
    (r"\.conv3d\.", ".conv."),
    (r"^features\.([023])\.", r"backbone.stem.\1."),
    *numbered(r"features\.", "backbone.stages.0.", range(5, 7), start=1),
    *numbered(r"features\.", "backbone.stages.1.", range(8, 13), start=1),
    *numbered(r"features\.", "backbone.stages.2.", range(14, 16), start=1),
    (r"^mapper\.", "backbone.reduction."),
    *HEADS,
)
SLOWFAST_RELEASE: Rules = (
    *PYSLOWFAST,
    (r"^mapper(_slow)?\.", "backbone.reduction.0."),
    (r"^mapper_fast\.", "backbone.reduction.1."),
    *HEADS,
)
MARS: Rules = (
    (r"^conv1\.", "backbone.stem.0."),
    (r"^bn1\.", "backbone.stem.1."),
    *numbered("layer", "backbone.stages.", range(1, 5)),
    (r"^fc\.", "classifier."),
)
RESNEXT_RELEASE: Rules = (
    (r"^features\.([01])\.", r"backbone.stem.\1."),
    *numbered(r"features\.", "backbone.stages.", range(4, 8)),
    (r"^mapper\.", "backbone.reduction."),
    *HEADS,
)
IG65M: Rules = (
    (r"^stem\.", "backbone.stem."),
    *numbered("layer", "backbone.stages.", range(1, 5)),
    (r"^fc\.", "classifier."),
)
R2PLUS1D_RELEASE: Rules = (
    (r"^features\.0\.", "backbone.stem."),
    *numbered(r"features\.", "backbone.stages.", range(1, 5)),
    *HEADS,
)
TORCHVISION: Rules = (
    (r"^(fc|head|head\.1|classifier\.1)\.(?=(weight|bias)$)", "classifier."),
    (r"^(?!classifier\.)", "backbone.network."),
)
VIDEOMAE: Rules = (
    (r"^videomae\.", "backbone.network."),
    (r"^fc_norm\.", "backbone.fc_norm."),
    (r"\.q_bias$", ".query.bias"),
    (r"\.v_bias$", ".value.bias"),
)
VJEPA: Rules = (
    (r"^(vjepa2\.)?encoder\.", "backbone.network."),
    (r"^(vjepa2\.)?predictor\.", "backbone.predictor."),  # of the training, not of the network
    (r"^pooler\.", "backbone.pooler."),
)
POOLERS = ("backbone.predictor.", "backbone.pooler.")

OWN = Layout("this project", None, (), ())
LAYOUTS = (
    Layout(
        "3D-ResNets-PyTorch / MARS",
        ResNeXt,
        ("conv1.weight", "layer1.0.bn3.weight"),
        MARS,
        pretrained=True,
        has_flow=True,
    ),
    Layout("pytorch-i3d", I3D, ("Conv3d_1a_7x7.conv3d.weight",), PYTORCH_I3D, pretrained=True, has_flow=True),
    Layout("PyTorchVideo", SlowFast, ("blocks.0.multipathway_blocks.0.conv.weight",), PYTORCHVIDEO, pretrained=True),
    Layout("PySlowFast", SlowFast, ("s1.pathway0_stem.conv.weight",), PYSLOWFAST, pretrained=True),
    Layout("ig65m-pytorch", R2Plus1D, ("stem.0.weight", "layer1.0.conv1.0.0.weight"), IG65M, pretrained=True),
    Layout("torchvision", VideoResNet, ("stem.0.weight", "layer1.0.conv1.1.weight"), TORCHVISION, pretrained=True),
    Layout("torchvision", S3D, ("features.0.0.0.weight", "features.5.branch0.0.weight"), TORCHVISION, pretrained=True),
    Layout("torchvision", MViT, ("conv_proj.weight", "pos_encoding.class_token"), TORCHVISION, pretrained=True),
    Layout("torchvision", Swin, ("patch_embed.proj.weight", "features.0.0.norm1.weight"), TORCHVISION, pretrained=True),
    Layout(
        "transformers",
        VideoMAE,
        ("videomae.embeddings.patch_embeddings.projection.weight",),
        VIDEOMAE,
        pretrained=True,
        optional=("backbone.fc_norm.",),
    ),
    Layout(
        "transformers",
        VJEPA2,
        ("encoder.embeddings.patch_embeddings.proj.weight",),
        VJEPA,
        pretrained=True,
        optional=POOLERS,
    ),
    Layout(
        "transformers",
        VJEPA2,
        ("vjepa2.encoder.embeddings.patch_embeddings.proj.weight",),
        VJEPA,
        pretrained=True,
        optional=POOLERS,
    ),
    Layout("the authors' ResNeXt", ResNeXt, ("features.4.0.conv1.weight",), RESNEXT_RELEASE),
    Layout("the authors' I3D", I3D, ("features.0.conv3d.weight",), I3D_RELEASE),
    Layout("the authors' SlowFast", SlowFast, ("model.s1.pathway0_stem.conv.weight",), SLOWFAST_RELEASE),
    Layout("the authors' R(2+1)D", R2Plus1D, ("features.0.0.weight",), R2PLUS1D_RELEASE),
)


def recognise(names: Collection[str], backbone: Backbone | None = None) -> Layout | None:
    """The layout of a checkpoint with these tensor names; None if it is not one of the known ones.

    backbone: that it is for; of several layouts with these names (ig65m-pytorch's are torchvision's) its own is taken.
    """
    if "classifier.weight" in names and any(name.startswith("backbone.") for name in names):
        return OWN
    fitting = [layout for layout in LAYOUTS if all(mark in names for mark in layout.marks)]
    for layout in fitting:
        if layout.backbone is not None and isinstance(backbone, layout.backbone):
            return layout
    return fitting[0] if fitting else None


def strip_prefixes(names: Collection[str]) -> dict[str, str]:
    """Each name without the prefixes of wrappers: DataParallel, torch.compile, a Lightning module.

    Where a Lightning module holds a recognizer, the module's other tensors are left out.
    """
    stripped = {name: re.sub(r"(^|\.)(?:module|_orig_mod)\.", r"\1", name) for name in names}
    before_backbone = {name.partition("backbone.")[0] for name in stripped.values() if "backbone." in name}
    for name in stripped.values():
        prefix = name.removesuffix("classifier.weight")
        if prefix != name and prefix in before_backbone:
            inside = {}
            for theirs, short in stripped.items():
                if short.startswith(prefix):
                    inside[theirs] = short.removeprefix(prefix)
            return inside
    return stripped
