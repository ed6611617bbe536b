"""An adversarial loss, which is not in the paper: a network that learns to tell made frames from real ones.

Pixels and features are best met by the mean of all frames that a mask may stand for, and the mean of faces is a blur.
Nobody takes that for a real frame: here patches are judged (Isola et al. 2017), beside the mask that they were made
from, by a hinge loss (Lim and Ye 2017), with a penalty on the gradient at real frames (Mescheder et al. 2018); made
frames also learn to give the same features as real ones (Wang et al. 2018).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call

from maskanim.networks.ops import upscale
from maskanim.train.settings import Adversarial

SLOPE = 0.2  # of the leaky ReLUs below zero
PENALTY_EVERY = 4  # steps: the penalty costs as much as the rest


class Judged(NamedTuple):
    """What a step gives to the discriminator, without gradient."""

    real: Tensor  # (N, 3, 256, 256)
    made: Tensor  # (K * N, 3, 256, 256): c, f or both
    mask: Tensor  # (N, 1, 64, 64): the driver's


class Discriminator(nn.Module):
    """Frames with their masks to feature maps, of which the last holds a verdict for each patch, above 0 if real."""

    def __init__(self, width: int) -> None:
        super().__init__()
        convolutions = (
            nn.Conv2d(4, width, 4, stride=2, padding=1),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1),
        )
        self.layers = nn.ModuleList(convolutions)
        self.head = nn.Conv2d(4 * width, 1, 3, padding=1)
        for layer in convolutions:
            nn.init.kaiming_normal_(layer.weight, SLOPE)

    def forward(self, images: Tensor, masks: Tensor) -> list[Tensor]:
        """(N, 3, 256, 256), (N, 1, 64, 64) in [0, 1] to (N, w, 128, 128) and so on, the verdicts (N, 1, 32, 32)."""
        x = torch.cat((images, upscale(masks)), 1).float() - 0.5  # autocast has changed colours in BF16
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            maps.append(x)
        return [*maps, self.head(x).float()]


class DiscriminatorLoss(nn.Module):
    """What the discriminator learns by, as one module that several processes can share."""

    def __init__(self, net: Discriminator, penalty: float) -> None:
        super().__init__()
        self.net, self.penalty = net, penalty

    def forward(self, judged: Judged, *, penalised: bool) -> Tensor:
        """The hinge loss, and now and then the penalty for all the steps since; a scalar."""
        copies = len(judged.made) // len(judged.real)
        verdicts = self.net(torch.cat((judged.real, judged.made)), judged.mask.repeat(1 + copies, 1, 1, 1))[-1]
        real, made = verdicts.split((len(judged.real), len(judged.made)))
        loss = F.relu(1 - real).mean() + F.relu(1 + made).mean()
        if penalised and self.penalty:
            loss = loss + PENALTY_EVERY * self.penalty / 2 * self._steepness(judged)
        return loss

    def _steepness(self, judged: Judged) -> Tensor:
        """The square of the gradient of the verdicts' mean at real frames, in single precision."""
        with torch.autocast(judged.real.device.type, enabled=False):
            images = judged.real.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(
                self.net(images, judged.mask)[-1].mean((1, 2, 3)).sum(), images, create_graph=True
            )
            return gradient.square().sum((1, 2, 3)).mean()


class Adversary:
    """The discriminator with its optimizer.

    Args:
        settings: how much it counts, and how it learns.
        fabric: where.
    """

    def __init__(self, settings: Adversarial, fabric: Fabric) -> None:
        self.settings = settings
        self.net = Discriminator(settings.width).to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(self.net.parameters(), lr=settings.learning_rate, betas=(0.5, 0.99))
        self._loss, self.optimizer = fabric.setup(DiscriminatorLoss(self.net, settings.penalty), optimizer)
        self._fabric = fabric

    def loss(self, made: Tensor, real: Tensor, mask: Tensor) -> Tensor:
        """What made frames learn by: to be taken for real, and to have real frames' features. The net learns nothing.

        Args:
            made, real: (N, 3, 256, 256).
            mask: (N, 1, 64, 64).
        """
        resting = {name: value.detach() for name, value in self.net.named_parameters()}
        with torch.no_grad():
            wanted = self.net(real, mask)
        found = functional_call(self.net, resting, (made, mask.detach()))
        differences = [F.l1_loss(a.float(), b.float()) for a, b in zip(found[:-1], wanted[:-1], strict=True)]
        return self.settings.weight * (self.settings.features * torch.stack(differences).sum() - found[-1].mean())

    def learn(self, judged: Judged, step: int) -> Tensor:
        """The gradients of one step, for `optimizer`; the loss, detached."""
        self.optimizer.zero_grad(set_to_none=True)
        loss: Tensor = self._loss(judged, penalised=step % PENALTY_EVERY == 0)
        self._fabric.backward(loss)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """For a checkpoint; nothing before the first step."""
        if not self.optimizer.state_dict()["state"]:
            return {}
        weights = {name: value.cpu() for name, value in self.net.state_dict().items()}
        return {"weights": weights, "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` stands, if it has begun there."""
        if not state:
            return
        self.net.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
