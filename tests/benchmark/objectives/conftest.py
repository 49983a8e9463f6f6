"""Outputs that a loss may meet, and a table to build objectives from."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from benchmark.data.table import ImageTable

SHAPES = [(2, 1), (2, 5), (3, 2), (7, 5), (16, 16), (33, 8), (64, 40), (5, 128)]


def pairs() -> Iterator[tuple[str, Tensor]]:
    """name, float32 (2, B, d): random ones of many shapes and scales, and the corners of what can happen."""
    for seed in range(5):
        for batch, dim in SHAPES:
            generator = torch.Generator().manual_seed(1000 * seed + batch + dim)
            first = torch.randn(batch, dim, generator=generator)
            second = first + 0.5 * torch.randn(batch, dim, generator=generator)
            pair = torch.stack([first, second])
            for scale in (1e-6, 1e-3, 1.0, 1e3, 1e6):
                yield f"seed {seed}, {batch} x {dim}, scale {scale:g}", scale * pair
            yield f"seed {seed}, {batch} x {dim}, shifted", pair + 10
            yield f"seed {seed}, {batch} x {dim}, identical views", torch.stack([first, first])
            yield f"seed {seed}, {batch} x {dim}, opposite views", torch.stack([first, -first])
            yield f"seed {seed}, {batch} x {dim}, sizes far apart", pair * torch.logspace(-3, 3, batch)[:, None]
            some = pair.clone()
            some[..., 0] = 3.0
            yield f"seed {seed}, {batch} x {dim}, one feature constant", some
    yield from degenerate()


def degenerate() -> Iterator[tuple[str, Tensor]]:
    """name, float32 (2, B, d) without direction or variance"""
    yield "zero", torch.zeros(2, 4, 6)
    yield "one", torch.ones(2, 4, 6)
    yield "one row for all images", torch.arange(6.0).expand(2, 4, 6)
    half = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    half[:, 1] = 0
    yield "one zero vector", half


def table_of(categories: list[str]) -> ImageTable:
    count, generator = len(categories), torch.Generator().manual_seed(0)
    quaternion = torch.randn(count, 4, dtype=torch.float64, generator=generator)
    return ImageTable(
        images=torch.zeros(count, 3, 1, 1, dtype=torch.uint8),
        index=torch.arange(count),
        latents=torch.zeros(count, 7, dtype=torch.float64),
        quaternion=quaternion / quaternion.norm(dim=1, keepdim=True),
        object_ids=categories,
        categories=categories,
    )


@pytest.fixture(scope="session")
def cases() -> list[tuple[str, Tensor]]:
    return list(pairs())


@pytest.fixture(scope="session")
def degenerate_cases() -> list[tuple[str, Tensor]]:
    return list(degenerate())


@pytest.fixture(scope="session")
def make_table():
    """make_table(categories) -> ImageTable of as many images"""
    return table_of
