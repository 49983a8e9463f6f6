"""ImageNet-C (Hendrycks and Dietterich 2019) as published: CORRUPTION/SEVERITY/CLASS/*.JPEG."""

from pathlib import Path

from benchmark.data.corruptions import ALL, SEVERITIES
from benchmark.data.dataset import Photographs, class_folders
from benchmark.data.decode import Record


class ImageNetC(Photographs):
    """ImageNet's validation images, corrupted. Each corruption and severity is a split, `gaussian_noise_1` to
    `jpeg_compression_5`; all show the same images."""

    name = "ImageNet-C"
    layout = "CORRUPTION/SEVERITY/nXXXXXXXX/*.JPEG, like gaussian_noise/1/n01440764 (or blur/defocus_blur/1/...)"
    origin = "Zenodo (ImageNet-C: blur.tar, digital.tar, extra.tar, noise.tar, weather.tar, unpacked)"

    def _splits(self) -> list[str]:
        return list(self._folders())

    def _folders(self) -> dict[str, Path]:
        """Split -> its folder of classes; in the order of the paper."""
        places = [self.path, *sorted(entry for entry in self.path.iterdir() if entry.is_dir())]
        return {
            f"{corruption}_{severity}": folder
            for corruption in ALL
            for severity in SEVERITIES
            for place in places
            if (folder := place / corruption / str(severity)).is_dir()
        }

    def _records(self, split: str) -> list[Record]:
        return class_folders(self._folders()[split], self.path)
