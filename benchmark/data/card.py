"""What a packed dataset says of itself: README.md, as Hugging Face reads it."""

from benchmark.data.dataset import Dataset


def card(dataset: Dataset, spec: dict, images: dict[str, int], classes: int) -> str:
    """YAML that names the files of each split (by names alone Hugging Face would merge some), then Markdown for people.

    images: split -> number; classes: how many.
    """
    splits = "\n".join(f"  - split: {split}\n    path: {split}-*.tar" for split in images)
    counts = "\n".join(f"| {split} | {count} |" for split, count in images.items())
    size = f"{spec['resolution']} x {spec['resolution']} pixels" if "resolution" in spec else "the sizes they came in"
    return f"""---
license: other
configs:
- config_name: default
  data_files:
{splits}
tags:
- webdataset
---

# {dataset.name}, packed by gr3d

{sum(images.values())} images of {classes} classes, in {size}. They are those of {dataset.name}: its terms and licences
apply to whoever passes them on.

| split | images |
|---|---|
{counts}

`{next(iter(images))}-000000.tar`, ...: plain tars in WebDataset convention. Each sample is an image
(`.{spec["format"]}`) and a `.json` with its `index`, `object_id`, `category` (the class) and `split`. `dataset.json`
says what was packed, `checksums.json` holds the sha256 of every shard.
"""
