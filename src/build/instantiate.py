"""Components of a configuration as objects.

A configuration chooses among this project's components, PyTorch's optimizers and schedules, Lightning's trainer, and
the modules of the user's own folder (src/plugins.py). Any other `_target_` is refused, wherever it comes from.
"""

import contextlib
import importlib
from collections.abc import Callable
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from src import plugins
from src.errors import UsageError, UserError
from src.text import first_line, printable

# What constructors raise for arguments that they cannot use.
NONSENSE = (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError, AssertionError, AttributeError)
COMPONENTS = ("src.models", "src.data", "torch.optim", "pytorch_lightning")  # packages


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a `_target_` node.

    Raises:
        UserError: a constructor refused its arguments (its own one-line reason); a target that is no component.
    """
    named = list(plugins.targets(_plain(node)))
    for target in named:
        located(target)
    try:
        with _allowed(named):
            return hydra.utils.instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, NONSENSE):
            name = str(node.get("_target_")).rpartition(".")[2]
            raise refusal(name, cause) from cause
        raise


def located(target: object) -> Callable[..., Any]:
    """The class or function that a `_target_` names.

    Raises:
        UserError: it is no component of this project, its libraries or the user's own folder, or is not there.
    """
    name = str(target)
    own = plugins.owns(name)
    if not (own or plugins.names(name) or _is_below(name)):
        raise UserError(
            f"_target_={printable(name)[:200]}: components are those of {', '.join(COMPONENTS)}; put one of your own "
            f"into a module of a folder that you give with {plugins.FLAG}=FOLDER"
        )
    if own:
        _import_own(name.partition(".")[0])
    try:
        found: Any = hydra.utils.get_object(name)
    except Exception as error:  # a module of the user's own may raise anything
        reason = first_line(error.__cause__ or error)
        raise UserError(f"_target_={printable(name)[:200]}: cannot be imported ({printable(reason)})") from error
    if not callable(found) or not (
        own or plugins.names(name) or _is_below(f"{getattr(found, '__module__', None)}.")  # not what they import
    ):
        raise UserError(f"_target_={printable(name)[:200]}: that is no class or function of {', '.join(COMPONENTS)}")
    return found  # type: ignore[no-any-return]


def refusal(what: str, error: BaseException) -> UsageError:
    """One line for arguments that a constructor refused, or stumbled over."""
    reason = " ".join(str(error).split())[:300]
    own = isinstance(error, ValueError)  # says what is wrong; others are raised deep inside
    return UsageError(f"{what}: {reason}" if own else f"{what}: cannot be built with these options ({reason})")


def _is_below(name: str) -> bool:
    return name.startswith(tuple(f"{package}." for package in COMPONENTS))


def _import_own(module: str) -> None:
    """Import a module of the user's folder.

    Raises:
        UserError: it cannot be imported, or another one has its name.
    """
    plugins.importable()
    try:
        found = importlib.import_module(module)
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{plugins.folder()}: {module} cannot be imported ({printable(reason)})") from error
    if not plugins.imported(found):
        raise UserError(f"{plugins.folder()}: {module} has the name of an installed module; rename it")


def _plain(node: Any) -> Any:
    """A node, of OmegaConf or a dictionary of such, as plain mappings and lists."""
    if OmegaConf.is_config(node):
        return OmegaConf.to_container(node, resolve=True)
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, dict) else node


def _allowed(targets: list[str]) -> contextlib.AbstractContextManager[object]:
    """Tell Hydra 1.4 what has been checked: it asks its caller which targets it may call. Earlier ones do not ask."""
    allow = getattr(hydra.utils, "execution_whitelist", None)
    return allow(*targets) if allow is not None and targets else contextlib.nullcontext()
