"""croissant.json: the dataset described in MLCommons' Croissant format (version 1.0), which search engines and
`mlcroissant` read. See https://docs.mlcommons.org/croissant/docs/croissant-spec.html.

Every split is a record set whose images come out of its tars and whose labels come out of latents.csv, joined by the
image's file name: readers of Croissant cannot reach into JSON files within tars.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from renderer import licences
from renderer.labels import QUATERNION
from renderer.latents import LATENTS
from renderer.passes import ENDINGS, MEANINGS

if TYPE_CHECKING:
    from renderer.card import About

FILE = "croissant.json"
MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "npy": "application/octet-stream"}
TABLE = "latents-table"
_DIGITS = 9  # in a sample's key

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def document(about: About, table: Path) -> str:
    """The text of croissant.json, with the sha256 of every shard and of `table`, the dataset's latents.csv."""
    value = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", f"gr3d-{about.name}").strip("-"),
        "description": about.summary,
        "license": [licences.page(licence) for licence in about.licences],
        "creator": {"@type": "sc:Organization", "name": "gr3d"},
        "citeAs": about.citation,
        "datePublished": datetime.now(UTC).date().isoformat(),
        "version": "1.0.0",
        "keywords": ["3D objects", "rendered images", "controlled latents", "representation learning"],
        "distribution": _distribution(about, table),
        "recordSet": [
            *(_record_set(split, count) for split, count in about.counts.items()),
            *(_pass_record_set(split, name) for split in about.counts for name in about.passes),
        ],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _distribution(about: About, table: Path) -> list[dict]:
    shards = [
        {
            "@type": "cr:FileObject",
            "@id": name,
            "name": name,
            "contentUrl": name,
            "contentSize": f"{entry['bytes']} B",
            "encodingFormat": "application/x-tar",
            "sha256": entry["sha256"],
        }
        for name, entry in sorted(about.sealed.items())
    ]
    with table.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    labels = {
        "@type": "cr:FileObject",
        "@id": TABLE,
        "name": TABLE,
        "description": "The labels of all samples.",
        "contentUrl": table.name,
        "contentSize": f"{table.stat().st_size} B",
        "encodingFormat": "text/csv",
        "sha256": digest,
    }
    endings = {"images": about.format, **{name: ENDINGS[name] for name in about.passes}}
    sets = [_files(split, name, ending, about) for split in about.counts for name, ending in endings.items()]
    return [labels, *shards, *sets]


def _files(split: str, name: str, ending: str, about: About) -> dict:
    tars = sorted(shard for shard in about.sealed if shard.rpartition("-")[0] == split)
    return {
        "@type": "cr:FileSet",
        "@id": f"{split}-{name}-files",
        "name": f"{split}-{name}-files",
        "containedIn": [{"@id": shard} for shard in tars],
        "encodingFormat": MIME[ending.rpartition(".")[2]],
        "includes": f"{'?' * _DIGITS}.{ending}",  # so that images are not passes, as in 000000042.mask.png
    }


def _record_set(split: str, count: int) -> dict:
    images = {"fileSet": {"@id": f"{split}-images-files"}}
    fields = [
        _field(split, "image", "sc:ImageObject", {**images, "extract": {"fileProperty": "content"}}),
        {
            **_field(split, "file", "sc:Text", {**images, "extract": {"fileProperty": "filename"}}),
            "references": {"fileObject": {"@id": TABLE}, "extract": {"column": "file"}},
        },
        *(_column(split, name, "sc:Integer") for name in ("index",)),
        *(_column(split, name, "sc:Text") for name in ("object_id", "category")),
        *(_column(split, name, "sc:Float") for name in (*LATENTS, *QUATERNION)),
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"The {count} samples of split `{split}`.",
        "key": {"@id": f"{split}/file"},
        "field": fields,
    }


def _pass_record_set(split: str, name: str) -> dict:
    """A pass of every sample beside the image's file name. Of its own: readers join two sources, and no third."""
    record_set = f"{split}-{name}"
    files = {"fileSet": {"@id": f"{record_set}-files"}}
    kind = "sc:ImageObject" if ENDINGS[name].endswith("png") else "sc:Text"
    name_of_file = {**files, "extract": {"fileProperty": "filename"}}
    fields = [
        _field(record_set, name, kind, {**files, "extract": {"fileProperty": "content"}}),
        _field(record_set, "file", "sc:Text", name_of_file),
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "description": f"Of split `{split}`: {MEANINGS[name]}.",
        "key": {"@id": f"{record_set}/file"},
        "field": fields,
    }


def _column(split: str, name: str, kind: str) -> dict:
    return _field(split, name, kind, {"fileObject": {"@id": TABLE}, "extract": {"column": name}})


def _field(split: str, name: str, kind: str, source: dict) -> dict:
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{name}",
        "name": f"{split}/{name}",
        "dataType": kind,
        "source": source,
    }
