"""Names of licences as other programs spell them."""

#: SPDX name in lower case -> the id that Hugging Face gives it. Ported versions go under the licence they port.
HUGGING_FACE = {
    "cc0-1.0": "cc0-1.0",
    "cc-by-2.0": "cc-by-2.0",
    "cc-by-2.5": "cc-by-2.5",
    "cc-by-3.0": "cc-by-3.0",
    "cc-by-3.0-us": "cc-by-3.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-3.0": "cc-by-sa-3.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-2.0": "cc-by-nc-2.0",
    "cc-by-nc-3.0": "cc-by-nc-3.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "cc-by-nc-sa-2.0": "cc-by-nc-sa-2.0",
    "cc-by-nc-sa-3.0": "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "cc-by-nc-nd-3.0": "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0": "cc-by-nc-nd-4.0",
    "cc-by-nd-4.0": "cc-by-nd-4.0",
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "gpl-2.0": "gpl-2.0",
    "gpl-3.0": "gpl-3.0",
    "odc-by": "odc-by",
}
_SPDX_PAGE = "https://spdx.org/licenses/{}.html"


def spdx(licence: str) -> str:
    """The SPDX part of a licence as an object's source states it: "CC0-1.0 (generated)" -> "CC0-1.0"."""
    return licence.partition(" ")[0]


def hugging_face(licence: str) -> str:
    """The id of a Hugging Face card: "unknown" for "", "other" for what has none."""
    return HUGGING_FACE.get(spdx(licence).lower(), "other") if licence else "unknown"


def page(licence: str) -> str:
    """Where the licence's text stands, or its own words where that is not known."""
    known = spdx(licence).lower() in HUGGING_FACE
    return _SPDX_PAGE.format(spdx(licence)) if known else licence or "unknown"
