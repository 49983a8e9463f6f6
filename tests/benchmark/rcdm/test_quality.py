import math

import torch

from benchmark.rcdm.quality import kernel_distance


def test_it_is_zero_for_the_same_distribution_and_grows_with_the_distance():
    torch.manual_seed(0)
    real, same = torch.randn(400, 16), torch.randn(300, 16)
    near, far = torch.randn(300, 16) + 0.3, torch.randn(300, 16) + 1.0
    distances = [kernel_distance(real, x) for x in (same, near, far)]
    assert abs(distances[0]) < 0.02 < distances[1] < distances[2]
    assert kernel_distance(real, same) == distances[0]


def test_it_is_the_unbiased_estimate_of_the_polynomial_kernels():
    """Of all images at once: k(x, y) = (x y / d + 1)^3, without the diagonal (Binkowski et al., 2018, section 4)."""
    torch.manual_seed(1)
    real, drawn = torch.randn(60, 5).double(), torch.randn(60, 5).double() + 0.5

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a @ b.T / 5 + 1) ** 3

    def within(k: torch.Tensor) -> torch.Tensor:
        return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

    whole = within(kernel(real, real)) + within(kernel(drawn, drawn)) - 2 * kernel(real, drawn).mean()
    assert abs(kernel_distance(real.float(), drawn.float()) - float(whole)) < 0.15 * float(whole)


def test_too_few_images_have_none():
    assert math.isnan(kernel_distance(torch.randn(10, 4), torch.randn(100, 4)))
