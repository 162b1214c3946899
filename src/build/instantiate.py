"""Components of a configuration as objects."""

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from src.errors import UsageError, UserError


def build(node: Any, **arguments: Any) -> Any:
    """Instantiate a `_target_` node.

    Raises:
        UserError: a constructor refused its arguments (its own one-line reason).
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, ValueError | TypeError):
            name = str(node.get("_target_")).rpartition(".")[2]
            raise UsageError(f"{name}: {' '.join(str(cause).split())}") from cause
        raise
