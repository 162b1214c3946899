"""Weights of this project, of published backbones and of the authors, loaded by the names of their tensors."""

from src.models.weights.loading import Loaded, load

__all__ = ["Loaded", "load"]
