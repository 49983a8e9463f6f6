"""Networks that expose every layer by name: a trunk and a head."""

from benchmark.models.build import ARCHITECTURES, STEMS, build_network, stems
from benchmark.models.network import GRANULARITIES, HEADS, Network
from benchmark.models.vit import check_side

__all__ = ["ARCHITECTURES", "GRANULARITIES", "HEADS", "STEMS", "Network", "build_network", "check_side", "stems"]
