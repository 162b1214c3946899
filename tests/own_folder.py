"""A folder of one's own with a backbone, a head and a reader, as somebody outside of this project writes it."""

import textwrap
from pathlib import Path

FILES = {
    "wide.py": '''
        """A backbone of one convolution."""

        import torch
        from src.models.backbones.backbone import Backbone
        from torch import Tensor, nn


        class Wide(Backbone):
            def __init__(self, in_channels: int, reduction: str, width: int = 8) -> None:
                super().__init__()
                self.channels = (width,)
                self.conv = nn.Conv3d(in_channels, width, (3, 5, 5), stride=(2, 4, 4), padding=(1, 2, 2))

            def lengths(self, frames: int) -> tuple[int]:
                return (-(-frames // 2),)

            def parts(self) -> dict[str, list[nn.Module]]:
                return {"stem": [self.conv]}

            def trunk(self, clip: Tensor) -> tuple[Tensor]:
                return (torch.relu(self.conv(clip)),)
        ''',
    "model/wide.yaml": """
        name: wide
        clip: { frames: 8, stride: 1, crop: 32, frame_size: [64, 48], keep_aspect: false }
        backbone: { _target_: wide.Wide, in_channels: "${modality.channels}", reduction: "${reduction.kind}", width: 8 }
        reduction: { full: none, reduced: none }
        mean: "${model.statistics.${modality.name}.mean}"
        std: "${model.statistics.${modality.name}.std}"
        statistics:
          rgb: { mean: [0.45, 0.45, 0.45], std: [0.225, 0.225, 0.225] }
          flow: { mean: [0.5, 0.5], std: [0.5, 0.5] }
        lr: { sgd: 1e-2, adamw: 1e-2 }
        bert: { init_std: null, normalize_tokens: false }
        pretrained: { rgb: null, flow: null }
        """,
    "heads/__init__.py": "",
    "heads/peak.py": '''
        """A head that keeps each channel's highest value."""

        from src.models.pooling.head import Head
        from torch import Tensor, nn


        class Peak(Head):
            def __init__(self, channels: int, length: int, hidden: int) -> None:
                super().__init__()
                self.linear = nn.Linear(channels, hidden)
                self.out_channels = hidden

            def forward(self, feature_map: Tensor) -> Tensor:
                return self.linear(feature_map.amax(dim=(2, 3, 4)))
        ''',
    "pooling/peak.yaml": """
        name: peak
        fusion: late
        input: reduced
        head: { _target_: heads.peak.Peak, _partial_: true, hidden: 8 }
        dropout: "${recipe.dropout.head}"
        """,
    "flat.py": '''
        """Clips in one folder, their class in front of the first minus: run-1.mp4."""

        from pathlib import Path

        from src.data.annotations import Lists, Video


        def flat(root: str, name: str) -> Lists:
            paths = sorted(Path(root).glob("*.mp4"))
            classes = sorted({path.stem.partition("-")[0] for path in paths})
            videos = []
            for path in paths:
                label = classes.index(path.stem.partition("-")[0])
                videos.append(Video(str(path), label, path.stem, path.name))
            return Lists(classes, videos[::2], None, videos[1::2], root, None, name, official=False)
        ''',
    "data/flat.yaml": """
        defaults: [base, _self_]
        name: flat
        num_classes: null
        own_lists: true
        root: ???
        lists: { _target_: flat.flat }
        """,
    "experiments/ours.yaml": """
        # @package _global_
        experiment:
          name: ours
          title: Own parts
          common: [model=wide, data=flat, recipe.epochs=1, recipe.batch_size=4, logger=csv, data.workers=0,
            trainer.accelerator=cpu]
          rows:
            average: { overrides: [pooling=average] }
            peak: { overrides: [pooling=peak] }
        """,
}
WORDS = ["model=wide", "pooling=peak", "data=flat"]


def write_own(folder: Path) -> Path:
    """Write the folder."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder
