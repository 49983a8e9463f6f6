"""EuroSAT (Helber et al. 2019), its RGB version, as published: one folder a class, no splits."""

from pathlib import Path

from benchmark.data.folders import Unsplit

_INSIDE = ("2750", "EuroSAT_RGB", "eurosat/2750", ".")  # of EuroSAT.zip, EuroSAT_RGB.zip, torchvision


class EuroSat(Unsplit):
    """27,000 satellite images of 64 x 64 pixels, 10 classes."""

    name = "EuroSAT"
    layout = "2750/CLASS/CLASS_1.jpg (EuroSAT.zip) or EuroSAT_RGB/CLASS/CLASS_1.jpg, with classes like AnnualCrop"
    origin = "Zenodo or phelber/EuroSAT on GitHub (EuroSAT.zip or EuroSAT_RGB.zip, unpacked)"

    def _root(self) -> Path:
        places = (self.path / inside for inside in _INSIDE)
        return next((place for place in places if (place / "AnnualCrop").is_dir()), self.path / "none")
