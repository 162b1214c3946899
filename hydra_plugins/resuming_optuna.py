"""Optuna's sweeper, made to go on with a study instead of adding trials to it at each start."""

import contextlib
import inspect
from pathlib import Path
from typing import Any

import hydra.utils
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, open_dict
from src.errors import UserError

Base: Any = Sweeper
with contextlib.suppress(ModuleNotFoundError):  # an extra
    from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper as Base


def _allowing(targets: str) -> contextlib.AbstractContextManager[Any]:
    """Hydra 1.4 asks what may be instantiated; earlier ones do not."""
    allow = getattr(hydra.utils, "execution_whitelist", None)
    return allow(targets) if allow else contextlib.nullcontext()


class ResumingOptuna(Base):
    """`n_trials` in all; trials that were cut off get the same values again, so that their runs are resumed."""

    def __init__(self, **arguments: Any) -> None:
        if Base is Sweeper:
            raise UserError("this search needs Optuna's sweeper; uv pip install -r pyproject.toml --extra launchers")
        known = inspect.signature(Base.__init__).parameters  # Hydra 1.4's has no search_space
        super().__init__(**{name: value for name, value in arguments.items() if name in known})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from src.runs.identity import describe, identity

        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        own = config.copy()
        with open_dict(own):
            del own["hydra"]
        self.sampler_config = config.hydra.sweeper.sampler
        self.sweeper.study_name = f"{self.sweeper.study_name}-{identity(describe(own))}"  # one study a configuration

    def sweep(self, arguments: list[str]) -> Any:
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        ours = self.sweeper
        Path(ours.sweep_dir).mkdir(parents=True, exist_ok=True)  # SQLite makes files, not folders
        study = optuna.create_study(
            study_name=ours.study_name,
            storage=ours.storage,
            directions=ours._get_directions(),
            load_if_exists=True,
        )
        for trial in study.get_trials(states=(TrialState.RUNNING,)):  # nobody is at it: this is a new start
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
        trials = len(study.get_trials())
        if trials and "seed" in self.sampler_config:  # with the same seed the first trials' values would come again
            with _allowing("optuna.samplers.*"):
                ours.sampler = instantiate(self.sampler_config, seed=self.sampler_config.seed + trials)
        done = len(study.get_trials(states=(TrialState.COMPLETE,)))
        if done >= ours.n_trials:
            print(f"{done} trials done; best: {study.best_params}, val/top1 {study.best_value:.2f} %")
            return None
        ours.n_trials -= done
        return super().sweep(arguments)
