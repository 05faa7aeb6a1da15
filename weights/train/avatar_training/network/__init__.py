"""The network, with the parameter names of the authors' checkpoint."""

from .model import GPAvatar, Rendering

__all__ = ["GPAvatar", "Rendering"]
