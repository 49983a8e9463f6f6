import pytest
import torch

from benchmark.rcdm.config import PATCHES, SIDES, DiffusionConfig
from benchmark.rcdm.model import TIMES, Denoiser, Diffusion, scheduler

WIDTHS = {"trunk": 12, "head1": 7}
NO_AUTOCAST = torch.autocast("cpu", enabled=False)


def denoiser(side: int = 32, patch: int = 4, **more: object) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(DiffusionConfig(layers=tuple(WIDTHS), side=side, patch=patch, width=32, **more), WIDTHS)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("patch", PATCHES)
def test_every_side_and_patch_keeps_the_images_shape(side, patch):
    model = denoiser(side, patch).eval()
    noisy, times = torch.randn(1, 3, side, side), torch.tensor([5])
    with torch.inference_mode():
        seen = model(noisy, times, model.embed("trunk", torch.randn(1, 12)))
    assert seen.shape == noisy.shape and seen.dtype == torch.float32


def test_every_residual_block_is_told_the_condition():
    """Each residual block has a linear layer from the embedding to scale and shift, which the condition reaches."""
    model = denoiser()
    blocks = [block for name, block in model.unet.named_modules() if type(block).__name__ == "ResnetBlock2D"]
    assert blocks and all(block.time_embedding_norm == "scale_shift" for block in blocks)
    assert all(block.time_emb_proj.out_features == 2 * block.out_channels for block in blocks)
    features = torch.randn(2, 12, requires_grad=True)
    model(torch.randn(2, 3, 32, 32), torch.tensor([1, 900]), model.embed("trunk", features)).square().sum().backward()
    assert (features.grad.abs().sum(dim=1) > 0).all()
    assert all(block.time_emb_proj.weight.grad.abs().sum() > 0 for block in blocks)


def test_a_sample_does_not_depend_on_those_beside_it():
    model = denoiser().eval()
    noisy, times, features = torch.randn(3, 3, 32, 32), torch.tensor([1, 500, 999]), torch.randn(3, 12)
    with torch.inference_mode():
        together = model(noisy, times, model.embed("trunk", features))
        alone = model(noisy[1:2], times[1:2], model.embed("trunk", features[1:2]))
    torch.testing.assert_close(together[1:2], alone)


def test_mixed_conditions_are_each_layers_own():
    model = denoiser()
    trunk, head = torch.randn(4, 12), torch.randn(4, 7)
    mixed = model.embed_mixed([trunk, head], torch.tensor([0, 1, -1, 0]))
    torch.testing.assert_close(mixed[[0, 3]], model.embed("trunk", trunk)[[0, 3]])
    torch.testing.assert_close(mixed[1], model.embed("head1", head)[1])
    torch.testing.assert_close(mixed[2], model.nothing)


def test_features_are_standardised_and_dead_ones_are_not_blown_up():
    model, x = denoiser(), torch.randn(500, 12) * torch.arange(1, 13) + 3
    x[:, 0] = 1.0
    x[:, 1] = 1.0 + 1e-9 * torch.randn(500)
    model.readers[0].standardise_by(x)
    seen = (x - model.readers[0].mean) * model.readers[0].scale
    torch.testing.assert_close(seen[:, 2:].std(dim=0), torch.ones(10))
    assert seen[:, :2].abs().max() < 1e-3
    constant = torch.ones(5, 12)
    model.readers[0].standardise_by(constant)
    assert torch.isfinite(model.embed("trunk", constant)).all()


def test_loss_is_the_error_of_the_velocity_where_there_is_much_noise():
    """v = sqrt(a) noise - sqrt(1 - a) image (Salimans and Ho, 2022), in which a predicted image takes part as
    v = (sqrt(a) noised - image) / sqrt(1 - a); here for a model that sees what the loss drew."""
    model = denoiser()
    seen = {}

    def watched(module, given):
        seen["noisy"], seen["times"], seen["embedding"] = given

    model.register_forward_pre_hook(watched)
    images, features = torch.rand(16, 3, 32, 32) * 2 - 1, [torch.randn(16, 12), torch.randn(16, 7)]
    torch.manual_seed(3)
    loss = Diffusion(model)(images, features, NO_AUTOCAST)
    alpha = scheduler().alphas_cumprod[seen["times"]].view(-1, 1, 1, 1)
    noise = (seen["noisy"] - alpha.sqrt() * images) / (1 - alpha).sqrt()
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * images
    predicted = model(seen["noisy"], seen["times"], seen["embedding"])
    as_velocity = (alpha.sqrt() * seen["noisy"] - predicted) / (1 - alpha).sqrt()
    much = (1 - alpha > 0.2).flatten()
    errors = (as_velocity - velocity).square().mean(dim=(1, 2, 3))
    little = 5 * (predicted - images).square().mean(dim=(1, 2, 3))
    assert 0 < much.sum() < 16
    torch.testing.assert_close(loss, torch.where(much, errors, little).mean(), rtol=1e-3, atol=1e-4)


def test_the_share_that_is_withheld_is_conditioned_on_nothing():
    model = denoiser(withheld=0.999999)
    seen = []
    model.register_forward_pre_hook(lambda module, given: seen.append(given[2]))
    Diffusion(model)(torch.zeros(4, 3, 32, 32), [torch.randn(4, 12), torch.randn(4, 7)], NO_AUTOCAST)
    torch.testing.assert_close(seen[0], model.nothing.expand(4, -1))


def test_the_last_time_is_noise_alone():
    """Else samples, which begin with noise alone, would begin at what the model never saw."""
    known = scheduler()
    assert known.config.num_train_timesteps == TIMES and known.alphas_cumprod[-1] < 1e-6
