"""From a configuration to the folder in which it runs: a new one, or the one of the run that it goes on with.

A folder belongs to one run. Nothing in the folder of an existing run changes unless the new command is the same run.
"""

import shutil
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from src import files, plugins
from src.config import OUTPUTS
from src.errors import UserError
from src.runs import interruption, launch, provenance, ranks, records
from src.runs.folder import RUNS, RunFolder
from src.runs.identity import describe, identity, title
from src.runs.launch import RankError
from src.runs.records import SCHEMA, ErrorRecord, Results, RunRecord


@dataclass(frozen=True)
class Start:
    """Where a run begins: its folder, what it is, and the checkpoint to go on from (None: from the beginning)."""

    folder: RunFolder
    record: RunRecord
    checkpoint: Path | None


def folder_of(cfg: DictConfig, run: str) -> RunFolder:
    """`run_dir`, or the folder that follows from what defines the run (`run`: its identity)."""
    return RunFolder(files.home_expanded(cfg.run_dir) if cfg.run_dir else RUNS / f"{title(cfg)}_{run}")


def record_of(cfg: DictConfig, overrides: Sequence[str]) -> RunRecord:
    """What is known of a run before it starts. Raises UserError where its lists of videos cannot be read."""
    description = describe(cfg)
    words, made_by, own = list(overrides), provenance.origin(), plugins.active()
    return RunRecord(SCHEMA, title(cfg), identity(description), description, words, made_by, own)


@contextmanager
def begin(cfg: DictConfig, overrides: Sequence[str]) -> Iterator[Start]:
    """The folder of a single run, locked while the block runs; a new folder is removed again if the run is refused.

    overrides: what `cfg` was composed from, kept so that the run can be composed again (src.evaluate).

    Raises:
        UserError: nothing to resume from, or the folder holds another run, or a finished one.
        BusyError: another process is running this run.
    """
    record = record_of(cfg, overrides)
    checkpoint = _checkpoint(cfg, record.identity)
    folder, is_new = _choose_folder(cfg, record, checkpoint)
    if is_new:
        _check_free(folder.path)
    else:
        _check_owner(folder, record)  # before the lock's file is made: a foreign folder is left as it is
    try:
        with folder.locked():
            known = _check_owner(folder, record)
            _complete_head(cfg, folder, known, record)
            if known is not None and checkpoint is None and folder.last.is_file():
                checkpoint = folder.last
            files.remove_leftovers(folder.path)
            folder.error.unlink(missing_ok=True)
            with interruption.explained(cfg, folder):
                yield Start(folder, known or record, checkpoint)
    except UserError:
        if is_new:
            _discard(folder)
        raise


def _choose_folder(cfg: DictConfig, record: RunRecord, checkpoint: Path | None) -> tuple[RunFolder, bool]:
    """The run's folder, and whether it is new."""
    if cfg.run_dir is not None:
        folder = RunFolder(files.home_expanded(cfg.run_dir))
        return folder, not folder.path.exists()
    if checkpoint is not None:
        folder = RunFolder(checkpoint.parent.parent)
        if _owner(folder) == record.identity:
            return folder, False
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{record.title}"
    return RunFolder(files.new_folder(OUTPUTS, name)), True


def _owner(folder: RunFolder) -> str | None:
    """The identity of the run in a folder; None where there is none that can be read."""
    try:
        record = folder.read_run()
    except UserError:
        return None
    return record.identity if record else None


def _check_owner(folder: RunFolder, record: RunRecord) -> RunRecord | None:
    """The record of the run in the folder if it is this one, None where the folder holds no run.

    Raises:
        UserError: the folder holds another run, or this one and it has finished.
    """
    known = folder.read_run()
    if known is None:
        _check_free(folder.path)
        names = [path.name for path in folder.path.iterdir()] if folder.path.is_dir() else []
        # A run that was killed while it wrote its record leaves its lock and a temporary file.
        if any(name != folder.lock.name and not files.LEFTOVER.fullmatch(name) for name in names):
            raise UserError(f"run_dir={folder} is not empty and holds no run; give a new folder")
        return None
    if known.identity != record.identity:
        raise UserError(f"run_dir={folder} holds another run ({_difference(known, record)}); give another folder")
    if folder.read_results() is not None:
        raise UserError(f"{folder} has finished; test it again with src.evaluate, or give another run_dir")
    return known


def _check_free(path: Path) -> None:
    """A run can have a folder here.

    Raises:
        UserError: there is something else, or the place is inside another run.
    """
    if path.is_symlink() and not path.exists():
        raise UserError(f"run_dir={path} is a link to {path.readlink()}, which is not there; give a new folder")
    if path.exists() and not path.is_dir():
        raise UserError(f"run_dir={path} is a file; give a new folder")
    for outer in path.resolve().parents:
        if _owner(RunFolder(outer)) is not None:
            raise UserError(f"run_dir={path} is inside the run {outer}; give a folder outside of it")


def _difference(known: RunRecord, wanted: RunRecord) -> str:
    """The first options in which two runs differ."""
    names = sorted({*known.description, *wanted.description})
    differing = [name for name in names if known.description.get(name) != wanted.description.get(name)]
    shown = [f"{name}={known.description.get(name)} there" for name in differing[:2]]
    return ", ".join(shown) + (f" and {len(differing) - 2} more" if len(differing) > 2 else "")


def _complete_head(cfg: DictConfig, folder: RunFolder, known: RunRecord | None, record: RunRecord) -> None:
    """run.json and config.yaml: what is known of a run before it starts.

    In this order: what is killed in between leaves a folder that is known to be the run's.
    known: what run.json says, where there is one.
    """
    if known is None:
        records.write(folder.run, record)
    if known is None or not folder.config.is_file():
        files.write_text(folder.config, OmegaConf.to_yaml(cfg, resolve=True))


def _discard(folder: RunFolder) -> None:
    """Remove a new folder in which no training has begun: a run that was refused leaves no trace."""
    if not folder.path.is_dir():
        return
    head = (folder.config, folder.run, folder.data, folder.audit, folder.lock)
    for path in folder.path.iterdir():
        if path not in head and not _is_log_of_refusal(path):
            return
    shutil.rmtree(folder.path)


def _is_log_of_refusal(path: Path) -> bool:
    """Whether this is what a rank printed that has not crashed."""
    return path.match("rank_*.log") and "Traceback" not in path.read_text(errors="replace")


def _checkpoint(cfg: DictConfig, run: str) -> Path | None:
    """The checkpoint that `ckpt_path` means."""
    if cfg.ckpt_path is None:
        again = cfg.requeue and cfg.run_dir is None and interruption.was_requeued()
        return _interrupted(run) if again else None
    if cfg.ckpt_path == "last":
        return _last_of_run_dir(cfg) if cfg.run_dir is not None else _newest(run)
    path = files.home_expanded(cfg.ckpt_path)
    path = RunFolder(path).last if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"ckpt_path={cfg.ckpt_path}: there is no file {path}; give a run's folder or a .ckpt file")
    return path


def _last_of_run_dir(cfg: DictConfig) -> Path:
    last = RunFolder(files.home_expanded(cfg.run_dir)).last
    if not last.is_file():
        raise UserError(f"ckpt_path=last: there is no file {last}; leave ckpt_path out to start from the beginning")
    return last


def _newest(run: str) -> Path:
    """The newest last checkpoint of the run with this identity under outputs/."""
    found = _last_checkpoints(run)
    if not found:
        raise UserError(
            f"ckpt_path=last: no run of this configuration under {OUTPUTS}/ has a last checkpoint; "
            "give its folder or file (ckpt_path=outputs/RUN), or leave ckpt_path out to start anew"
        )
    return found[-1]


def _interrupted(run: str) -> Path | None:
    """The last checkpoint of the run that SLURM has stopped; None where it had none."""
    found = [path for path in _last_checkpoints(run) if not RunFolder(path.parent.parent).results.is_file()]
    return found[-1] if found else None


def _last_checkpoints(run: str) -> list[Path]:
    """last.ckpt of every run with this identity under outputs/, the newest at the end."""
    heads = [*OUTPUTS.glob("*/run.json"), *RUNS.glob("*/run.json")]
    folders = [RunFolder(path.parent) for path in heads]
    found = [folder.last for folder in folders if folder.last.is_file() and _owner(folder) == run]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def run_job(cfg: DictConfig, overrides: Sequence[str]) -> Results | None:
    """Bring a run to its end in the folder that its configuration names, from wherever it stands.

    Jobs of sweeps run like this, and ranks that torchrun or SLURM has started: nothing but the configuration is needed
    to find the folder. A finished run is skipped, an interrupted one resumed; a failure is recorded.

    Returns:
        The results; None on ranks other than the first.

    Raises:
        BusyError: another process is running it.
        UserError: it failed; error.json says why.
    """
    record = record_of(cfg, overrides)
    folder = folder_of(cfg, record.identity)
    if ranks.rank() != 0:  # rank 0 of this run keeps the books
        if folder.read_results() is None:
            launch.run_rank(cfg, folder, _last(folder))
        return None
    with folder.locked():
        if (done := folder.read_results()) is not None:
            print(f"{folder}: finished already", flush=True)
            return done
        folder.error.unlink(missing_ok=True)
        files.remove_leftovers(folder.path)
        checkpoint = _last(folder)
        try:
            _complete_head(cfg, folder, _check_owner(folder, record), record)
            with interruption.explained(cfg, folder, resumes=True):
                if ranks.is_rank():
                    launch.run_rank(cfg, folder, checkpoint)
                else:
                    launch.start_ranks(cfg, folder, checkpoint, to_log=True)
        except Exception as error:
            _record_failure(folder, error)
            raise
    return folder.read_results()


def _last(folder: RunFolder) -> Path | None:
    return folder.last if folder.last.is_file() else None


def _record_failure(folder: RunFolder, error: Exception) -> None:
    """Leave error.json: the message, and the end of the log or the traceback."""
    log = error.log if isinstance(error, RankError) else folder.log(0)
    tail = log.read_text(errors="replace").splitlines()[-40:] if log.is_file() else []
    known = isinstance(error, UserError)
    message = str(error) if known else f"{type(error).__name__}: {error}"
    trace = None if known else traceback.format_exc().splitlines()
    with suppress(OSError):  # where the disk is full, the error itself says so
        records.write(folder.error, ErrorRecord(SCHEMA, message, provenance.now(), tail, trace))
