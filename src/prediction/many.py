"""Many videos and one network: decoded by workers while the network computes, several videos in a batch."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from src.batch import views_of
from src.build.data import clip_count
from src.build.devices import decoding_workers
from src.data.annotations import Video
from src.data.dataset import Item, Source, TestViews
from src.data.flow import is_flow_video
from src.data.handover import packed
from src.data.loader import Loader, worker_options
from src.data.mirrored import seen_directly
from src.errors import UserError
from src.prediction.network import Network

Progress = Callable[[int], None]  # called with how many videos are done


@dataclass
class Answers:
    """What a network says of N videos.

    scores: N, K: its classifier's outputs, mean over a video's views; of no meaning where there are no views.
    views: N.
    problems: position of a video → why it could not be read, or not to its end.
    network_s, total_s: seconds in the network, and in all.
    """

    scores: NDArray[np.float32]
    views: NDArray[np.int64]
    problems: dict[int, str] = field(default_factory=dict)
    network_s: float = 0.0
    total_s: float = 0.0

    @property
    def clips_per_second(self) -> float:
        """Views that were decoded and computed in a second."""
        return float(self.views.sum()) / max(self.total_s, 1e-9)


class Views(TestViews):
    """The test views of any videos; a flow video is refused where RGB is wanted."""

    def video(self, video: Video, index: int = 0) -> Iterator[Item]:
        if self.source.modality == "rgb" and is_flow_video(video.path):
            yield Item(None, video.label, index, wrong_modality(video.path))
            return
        yield from super().video(video, index)


def wrong_modality(path: str) -> UserError:
    """What to say of a flow video that is given to a network for RGB."""
    return UserError(f"{path}: it is an optical-flow video, and this network takes RGB; give the original")


def ask(network: Network, paths: Sequence[str], progress: Progress = lambda done: None) -> Answers:
    """Look at every video, as src.evaluate would test it.

    Raises:
        UserError: a worker process was lost. What is wrong with a video is in `problems`.
    """
    start = time.perf_counter()
    answers = Answers(np.zeros((len(paths), len(network.classes)), np.float32), np.zeros(len(paths), np.int64))
    done: set[int] = set()
    for batch in loader(network, paths):
        for index, message in zip(batch.get("unreadable_id", []), batch.get("unreadable", []), strict=True):
            answers.problems[index] = message
            done.add(index)
        if len(batch["label"]):
            began = time.perf_counter()
            logits = logits_of(network, views_of(batch), batch.get("mirrored"))  # N V K
            answers.network_s += time.perf_counter() - began
            for index, views in zip(batch["video_id"].tolist(), logits, strict=True):
                answers.scores[index] += views.sum(0)
                answers.views[index] += len(views)
                done.add(index)
        progress(len(done))
    for index in np.flatnonzero(~np.isfinite(answers.scores).all(1)).tolist():
        answers.problems[index] = f"{paths[index]}: the network's scores are not finite; its training has diverged"
        answers.views[index] = 0
    answers.scores /= np.maximum(answers.views, 1)[:, None]
    answers.total_s = time.perf_counter() - start
    return answers


@torch.inference_mode()
def logits_of(network: Network, clips: torch.Tensor, mirrored: torch.Tensor | None = None) -> NDArray[np.float32]:
    """Clips (N, V, C, T, H, W) uint8 → logits (N, V, K), on the host.

    mirrored: N, V bool: which are mirror images.
    """
    flat = clips.flatten(0, 1).to(network.device, non_blocking=True)  # N V C T H W → NV C T H W
    logits = network.recognizer(flat).float().cpu().view(*clips.shape[:2], -1)  # NV K → N V K
    direct: NDArray[np.float32] = seen_directly(logits, mirrored, network.mirror).numpy()
    return direct


def loader(network: Network, paths: Sequence[str]) -> Loader:
    """Batches of all views of these videos; positions in `paths` are their ids."""
    cfg = network.cfg
    videos = [Video(path=path, label=0, group=path, name=path) for path in paths]
    views = Views(
        videos,
        Source(network.clip, network.modality, cfg.data.decoder),
        clips=clip_count(cfg),
        crops=cfg.test.crops,
        view_batch=cfg.test.view_batch,
        on_error="skip",
    )
    groups = -(-len(paths) // cfg.test.view_batch)
    workers = min(decoding_workers(cfg), groups) if len(paths) > 1 else 0  # one video is there before a worker is
    return Loader(views, batch_size=None, collate_fn=packed, **worker_options(workers, cfg.seed))


def summed(streams: Sequence[Answers]) -> Answers:
    """Streams of the same videos: scores summed (Section 4.4: RGB and flow); a video needs all of them."""
    first = streams[0]
    if len(streams) == 1:
        return first
    total = Answers(first.scores.copy(), first.views.copy(), dict(first.problems), first.network_s, first.total_s)
    for other in streams[1:]:
        total.scores += other.scores
        total.views = np.where((total.views > 0) & (other.views > 0), total.views + other.views, 0)
        total.problems = {**other.problems, **total.problems}
        total.network_s += other.network_s
        total.total_s += other.total_s
    return total


def probabilities(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis."""
    shifted = np.exp(scores - scores.max(-1, keepdims=True))
    result: NDArray[np.float32] = shifted / shifted.sum(-1, keepdims=True)
    return result
