"""The written-out ResNet against torchvision's: the same parameters, the same numbers."""

from __future__ import annotations

import pytest
import torch

from reeldex.extractors import resnet152
from reeldex.extractors.resnet2d import ResNet


@pytest.mark.slow
def test_resnet152_has_the_parameters_of_torchvisions() -> None:
    from torchvision.models import resnet152 as published

    with torch.device("meta"):
        ours, theirs = resnet152.build().state_dict(), published(weights=None).state_dict()
    assert [(name, value.shape) for name, value in ours.items()] == [(n, v.shape) for n, v in theirs.items()]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(64, 64), (64, 97)])
def test_numbers_are_those_of_torchvision_to_the_bit(size: tuple[int, int]) -> None:
    from torchvision.models import resnet50

    torch.manual_seed(0)
    theirs = resnet50(weights=None).eval()
    ours = ResNet((3, 4, 6, 3), 1000).eval()
    ours.load_state_dict(theirs.state_dict())
    clips = torch.rand(2, 3, *size)
    with torch.inference_mode():
        assert torch.equal(ours(clips), theirs(clips))
