"""Whether this machine has the devices that a configuration asks for."""

from omegaconf import DictConfig

from src.errors import UserError

GPUS = ("gpu", "cuda", "mps")


def check_devices(cfg: DictConfig) -> None:
    """Refuse a GPU where there is none, and more GPUs than there are.

    Raises:
        UserError: names the option, and what the machine has.
    """
    wanted = cfg.trainer.accelerator
    if wanted not in GPUS:
        return
    import torch  # slow, and not needed to refuse anything else

    if wanted == "mps" or (wanted == "gpu" and torch.backends.mps.is_available()):
        there = int(torch.backends.mps.is_available())
    else:
        there = torch.cuda.device_count()
    if not there:
        raise UserError(f"trainer.accelerator={wanted}: this machine has none; give trainer.accelerator=cpu or auto")
    if isinstance(cfg.trainer.devices, int) and cfg.trainer.devices > there:
        raise UserError(f"trainer.devices={cfg.trainer.devices}: this machine has {there}; give at most as many")
