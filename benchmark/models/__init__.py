"""Networks that expose every layer by name: a trunk and a head."""

from benchmark.models.network import ARCHITECTURES, HEADS, STEMS, Network, build_network

__all__ = ["ARCHITECTURES", "HEADS", "STEMS", "Network", "build_network"]
