"""The answer to `python -m src.predict`: inputs found, looked at, shown, written, and what went wrong listed."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from src import files
from src.data.address import is_stream, without_password
from src.data.flow import is_flow_video
from src.errors import UsageError, UserError
from src.prediction import explanation, explanation_files, many, results
from src.prediction import untrimmed as long
from src.prediction.inputs import Input, Problem, collect, source_of
from src.prediction.many import wrong_modality
from src.prediction.network import Network
from src.prediction.question import Question, Settings
from src.prediction.results import Prediction
from src.text import console, counted, printable


def videos(networks: Sequence[Network], question: Question, lines: Iterable[str], top: int) -> int:
    """Look at all inputs; 0, or 1 where there was something to complain of.

    Raises:
        UserError: the only input cannot be read.
    """
    if question.explain:
        check_explained(networks)
    multilabel = networks[0].multilabel
    if any(network.multilabel != multilabel for network in networks):
        raise UserError("one of the networks tells several classes of a video, the other one; they cannot be summed")
    inputs, problems = collect(question.words, lines)
    answers = look(networks, inputs, question.flow)
    predictions = [Prediction(problem.name, 0, [], problem.reason) for problem in problems]
    for index, one in enumerate(inputs):
        reason, views = answers.problems.get(index), int(answers.views[index])
        guesses = results.best(answers.scores[index], networks[0].classes, top, multilabel) if views else []
        predictions.append(Prediction(one.path, views, guesses, reason))
        if reason is not None:
            problems.append(Problem(one.path, reason + ("; predicted from what came before" if views else "")))
    seen = [prediction for prediction in predictions if prediction.guesses]
    if len(problems) == 1 and not seen and (question.out is None or question.explain):
        raise UserError(str(problems[0]))
    show(networks, seen, answers)
    if question.explain:
        explain(networks, question, inputs, answers, problems)
    elif question.out is not None:
        results.write(question.out, predictions)
        console().print(f"{counted(len(seen), 'prediction')}: {printable(question.out)}")
    return complain(problems, len(predictions))


def untrimmed(networks: Sequence[Network], question: Question, lines: Iterable[str], settings: Settings) -> int:
    """Look at all inputs window by window, one after the other; 0, or 1 where there was something to complain of.

    Raises:
        UsageError: two networks.
        UserError: the only input cannot be read.
    """
    if len(networks) > 1:
        raise UsageError("windows=true takes one network; give one run=")
    (network,) = networks
    network.one_class("windows=true")
    inputs, problems = collect(question.words, lines)
    total = len(inputs) + len(problems)
    if settings.out is not None:
        settings.out.mkdir(exist_ok=True)
    for one in inputs:
        path = source_of(one, network.modality, network.cfg.data.flow, question.flow)
        try:
            if network.modality == "rgb" and not is_stream(one.path) and is_flow_video(one.path):
                raise wrong_modality(one.path)
            seen = long.look(network, one, path, settings)
        except UserError as error:
            problems.append(Problem(without_password(one.path), str(error)))
        else:
            if seen.error is not None:
                problems.append(Problem(without_password(one.path), f"{seen.error}; predicted from what came before"))
    if len(problems) == total == 1:
        raise UserError(str(problems[0]))
    return complain(problems, total)


def check_explained(networks: Sequence[Network]) -> None:
    """Refuse networks that cannot be looked into.

    Raises:
        UsageError: two networks.
        UserError: an ONNX file.
    """
    if len(networks) > 1:
        raise UsageError("explain= takes one network; give one run=")
    networks[0].one_class("explain=")
    networks[0].with_parts()


def explain(
    networks: Sequence[Network],
    question: Question,
    inputs: Sequence[Input],
    answers: many.Answers,
    problems: list[Problem],
) -> None:
    """Write the files that explain the most probable class of every video that could be read."""
    (network,), folder = networks, question.out
    assert folder is not None
    folder.mkdir(exist_ok=True)
    if "attention" in question.explain and not network.with_parts().pooling.has_attention:
        console().print(f"note: {network.cfg.pooling.name} has no attention weights; only BERT has")
    for index, one in enumerate(inputs):
        if not answers.views[index]:
            continue
        label = int(answers.scores[index].argmax())
        try:
            path = source_of(one, network.modality, network.cfg.data.flow, question.flow)
            shown = explanation.most_telling(network, path, label)
        except UserError as error:
            problems.append(Problem(one.path, str(error)))
            continue
        found = explanation.explain(network.with_parts(), shown.clip, label, question.explain)
        stem = folder / files.safe_name(one.inner.replace("/", "_"))
        explanation_files.write(stem, found, shown, network.classes[label], one.inner)
        console().print(f"explained in {printable(stem)}.explained.png, .mp4, .json and .npz")


def look(networks: Sequence[Network], inputs: Sequence[Input], flow: Path | None) -> many.Answers:
    """What the networks say together, with a progress bar where somebody watches."""
    terminal = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    streams = []
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal, transient=True) as bar:
        for network in networks:
            paths = [source_of(one, network.modality, network.cfg.data.flow, flow) for one in inputs]
            task = bar.add_task(network.modality, total=len(paths))

            def advance(done: int, task: TaskID = task) -> None:
                bar.update(task, completed=done)

            streams.append(many.ask(network, paths, advance))
    return many.summed(streams)


def show(networks: Sequence[Network], seen: Sequence[Prediction], answers: many.Answers) -> None:
    """The table of what was seen, and how long it took."""
    if not seen:
        return
    terminal = console()
    if len(seen) == 1:
        terminal.print(f"{printable(seen[0].video)}: {seen[0].views} views")
    terminal.print(results.table(seen, several=len(seen) > 1))
    origins = " and ".join(printable(network.origin) for network in networks)
    share = answers.network_s / max(answers.total_s, 1e-9)
    terminal.print(
        f"{origins}: {counted(int(answers.views.sum()), 'clip')} in {answers.total_s:.1f} s, "
        f"{answers.clips_per_second:.1f} clips/s ({share:.0%} of the time in the network)"
    )


def complain(problems: Sequence[Problem], total: int) -> int:
    """List what could not be read; the exit code that follows."""
    if not problems:
        return 0
    terminal = console(stderr=True)
    terminal.print(f"{len(problems)} of {total} inputs could not be read, or not to their end:")
    for problem in problems:
        terminal.print(f"  {problem}")
    return 1
