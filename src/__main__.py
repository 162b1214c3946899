"""What there is to run: `python -m src`."""

COMMANDS = {
    "train": "train, validate and test one network, or all runs of a table",
    "evaluate": "test a run's network again: other views, other videos, another checkpoint",
    "predict": "name the classes that a network sees in videos and streams, and when",
    "export": "write a network to a file for other programs, and a page about it",
    "web": "a page in the browser: drop a video, see its classes, when they come, and why",
    "prepare": "unpack and check a downloaded data set, decode every video once, make optical flow",
    "features": "compute the features of a frozen backbone ahead of training, or write them for other programs",
    "sweep": "list the sweeps that have been started, and where each of their runs stands",
    "report": "tables, charts and comparisons of finished runs",
    "complexity": "parameters and operations of any configuration, and of the paper's tables",
    "dashboard": "a page of charts in Weights & Biases for the runs of a project",
    "demo": "average pooling against BERT on the embedded data: a table and a picture",
}


def main() -> None:
    """Print a line for each command."""
    print("usage: python -m src.COMMAND [option=value …]\n")
    for name, about in COMMANDS.items():
        print(f"  {name:<11} {about}")
    print("\npython -m src.COMMAND --help explains a command, its options and their defaults.")


if __name__ == "__main__":
    main()
